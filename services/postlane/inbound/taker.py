"""Takes chunks of a folder into Kafka, one transaction each; a mail that fails again and again goes to quarantine, so that the others pass."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from postlane.core.events.mail import BlobRef
from postlane.core.events.received import MailboxCursor, MailReceived
from postlane.core.polling import mailbox as folders
from postlane.core.polling.folder import ListedMail
from postlane.core.polling.mailbox import Chunk, Ending, Identity, Limits, Progress
from postlane.core.polling.quarantine import RAW_BYTES_MAX, Quarantined, encode_quarantine
from postlane.core.polling.suspects import (
    Suspect,
    suspect_after,
    suspect_given_up,
    under_suspicion,
    with_breaker,
    witnesses,
)
from postlane.inbound.batches import Batch, Fetched, MailFailed, Prepared
from postlane.inbound.folder_watch import FolderWatch
from postlane.inbound.intake import Intake
from postlane.inbound.partition import PartitionOwner
from postlane.inbound.records import InboundRecords
from postlane.inbound.settling import Settler
from postlane.inbound.topics import InboundTopics
from postlane.ports import MailSource, MailSourceError, NewRecord, RecordRefused

WITNESS_BYTES = 1024
OLDER_WITNESSES = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a mail last failed, and what of it was in hand."""

    cause: str
    reason: str
    raw: bytes | None = None
    ref: BlobRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakerParts:
    """What taking mail needs."""

    identity: Identity
    owner: PartitionOwner
    intake: Intake
    records: InboundRecords
    settler: Settler
    topics: InboundTopics
    watch: FolderWatch
    limits: Limits
    committed: Callable[[MailReceived], None] = lambda _event: None


class Taker:
    """One folder's; `known` are the raw hashes that have an event, while a folder that was renumbered is compared."""

    def __init__(self, parts: TakerParts) -> None:
        self._parts = parts
        self._key = (parts.identity.mailbox, parts.identity.folder)
        self._suspect: Suspect | None = None
        self._failure = Failure("unknown", "")
        self.known: set[str] = set()

    @property
    def cursor(self) -> MailboxCursor | None:
        """What Kafka holds for this folder."""
        return self._parts.owner.cursors.get(self._key)

    @property
    def is_careful(self) -> bool:
        """Whether mails are taken one by one, because one of them may be to blame for a failure."""
        return self._suspect is not None

    def plan(self, progress: Progress, listed: Sequence[ListedMail]) -> Chunk:
        """The next chunk of what is listed."""
        return folders.plan_chunk(progress, under_suspicion(self._suspect, listed), self._parts.limits)

    def batch(self, progress: Progress, chunk: Chunk) -> Batch:
        """The chunk as the intake takes it."""
        identity = self._parts.identity
        return Batch(
            mailbox=identity.mailbox,
            folder=identity.folder,
            uid_validity=progress.uid_validity,
            whole=chunk.whole,
            oversize=chunk.oversize,
            is_repeat=(lambda sha256: folders.is_repeat(progress, sha256, self.known))
            if progress.is_compared
            else None,
        )

    async def fetch(self, source: MailSource, batch: Batch) -> Fetched:
        """What the server hands out of it. Raises MailSourceError, MailFailed."""
        return await self._parts.intake.fetch(batch, source, self._parts.watch)

    async def prepare(self, batch: Batch, fetched: Fetched) -> list[Prepared]:
        """Stored, read, encoded. Raises MailFailed, LogUnavailable."""
        return await self._parts.intake.prepare(batch, fetched, self._parts.watch)

    async def produce(self, progress: Progress, chunk: Chunk, prepared: Sequence[Prepared]) -> Progress:
        """Make a chunk durable; the progress behind it. Raises Fenced, MailFailed."""
        parts = self._parts
        endings = {one.uid: one.ending for one in prepared}
        after = folders.after_chunk(progress, chunk.last_uid, endings, parts.identity, datetime.now(UTC))
        await self.write(prepared, after)
        parts.watch.ended(endings)
        for one in prepared:
            if one.event is not None:
                parts.watch.received(one.event)
                parts.committed(one.event)
                if progress.is_compared:
                    self.known.add(one.event.raw.sha256)
        if self._suspect and chunk.last_uid >= self._suspect.alone_until_uid:
            self._suspect = None
        return after

    async def pass_over(self, progress: Progress, chunk: Chunk) -> Progress:
        """Skip mails that are too old for a scan. Raises Fenced."""
        after = folders.after_passing_over(progress, chunk, self._parts.identity, datetime.now(UTC))
        await self.write([], after)
        self._parts.watch.ended({mail.uid: Ending.SKIPPED for mail in chunk.passed_over})
        return after

    async def write(self, prepared: Sequence[Prepared], progress: Progress) -> None:
        """One transaction: the events with their companions, and the cursor. An event that is refused is cut to the bone and tried once more.

        Raises Fenced, MailFailed.
        """
        parts = self._parts
        ours = [one.uid for one in prepared if one.settles]
        cursor = parts.settler.stamped(progress.cursor, ours)
        last = await parts.records.cursor(cursor, parts.owner.partition)
        going = [one for one in prepared if one.record is not None]
        while True:
            of = [one for one in going for _ in range(1 + len(one.companions))]
            records = [record for one in going for record in (one.record, *one.companions) if record]
            try:
                await parts.owner.write([*records, last])
            except RecordRefused as refused:
                if refused.index >= len(records):
                    raise
                place = going.index(of[refused.index])
                going[place] = await self._cut(going[place], records[refused.index], refused.reason)
            else:
                break
        parts.owner.cursors[self._key] = cursor
        parts.settler.produced(ours)

    async def write_settled(self, progress: Progress) -> None:
        """Let Kafka know, in a quiet moment, that nothing waits any more, so that the next owner has nothing to repeat. Raises Fenced."""
        held = self.cursor
        if held is not None and held.unsettled != self._parts.settler.stamped(progress.cursor).unsettled:
            await self.write([], progress)

    async def _cut(self, guilty: Prepared, record: NewRecord, reason: str) -> Prepared:
        """What is left of a mail when the broker refuses one of its records. Raises MailFailed."""
        if record is not guilty.record:
            # What goes along must not cost the mail its event.
            self._parts.watch.companion_refused(guilty.uid, reason)
            return replace(guilty, companions=tuple(one for one in guilty.companions if one is not record))
        if guilty.slim or guilty.event is None:
            raise MailFailed(guilty.uid, "refused", reason, permanent=True)
        return await self._parts.intake.slimmed(guilty)

    # Mails that fail

    def count(self, chunk: Chunk, failure: Failure) -> None:
        """One more failure of this chunk."""
        uids = chunk.uids
        self._suspect = suspect_after(self._suspect, uids[0], uids[-1])
        self._failure = failure

    async def is_last_try(self, source: MailSource, listed: Sequence[ListedMail]) -> bool:
        """Whether what comes next has failed often enough, and everything else is shown to work. Raises MailSourceError."""
        suspect = self._suspect
        if suspect is None or not suspect.is_poison or listed[0].uid != suspect.uid:
            return False
        if self._failure.cause == "blob-store":
            return await self._parts.intake.store_works(listed[0].size_bytes)
        older = [mail.uid for mail in await source.list_since(0, OLDER_WITNESSES) if mail.uid < suspect.uid]
        asked = witnesses(suspect, listed, older)
        for uid in asked:
            try:
                if await source.fetch_part(uid, 0, WITNESS_BYTES):
                    return True
            except MailSourceError:
                self._suspect = with_breaker(suspect, uid)
                raise
        # A server may answer and hand nothing out. Where nobody else can tell, the mail's own header does.
        return not asked and bool(await source.fetch_header(suspect.uid))

    async def quarantine(self, progress: Progress, uid: int) -> Progress:
        """Give this mail up: it stays in its folder, and `mail.inbound.dlq` says why. Raises Fenced."""
        parts, failure, suspect = self._parts, self._failure, self._suspect
        assert suspect is not None
        entry = Quarantined(
            mailbox=parts.identity.mailbox,
            folder=parts.identity.folder,
            uid_validity=progress.uid_validity,
            uid=uid,
            failures=suspect.failures,
            died_ms=int(time.time() * 1000),
            cause=failure.cause,
            reason=failure.reason,
            raw=failure.ref,
        )
        key = parts.identity.mailbox.encode()
        record = NewRecord(
            to=parts.topics.dlq_for(key),
            key=key,
            value=failure.raw if failure.raw is not None and len(failure.raw) <= RAW_BYTES_MAX else None,
            headers=encode_quarantine(entry),
        )
        endings = {uid: Ending.QUARANTINED}
        after = folders.after_chunk(progress, uid, endings, parts.identity, datetime.now(UTC))
        await self.write([Prepared(uid, Ending.QUARANTINED, None, record)], after)
        self._suspect = None if uid >= suspect.alone_until_uid else suspect_given_up(suspect)
        parts.watch.ended(endings)
        parts.watch.quarantined(entry)
        return after
