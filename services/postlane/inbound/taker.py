"""Takes one chunk of a folder into Kafka in one transaction; a mail that fails again and again goes to quarantine, so that the others pass."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from postlane.config.mailbox_section import AfterCommit
from postlane.core.events.mail import BlobRef
from postlane.core.events.received import MailboxCursor
from postlane.core.polling import mailbox as folders
from postlane.core.polling.folder import ListedMail
from postlane.core.polling.mailbox import Chunk, Ending, Identity, Limits, Progress
from postlane.core.polling.quarantine import RAW_BYTES_MAX, Quarantined, encode_quarantine
from postlane.core.polling.suspects import Suspect, suspect_after, under_suspicion
from postlane.inbound.intake import Batch, Intake, MailFailed, Prepared
from postlane.inbound.partition import PartitionOwner
from postlane.inbound.topics import InboundTopics
from postlane.inbound.watch import MailboxWatch
from postlane.ports import MailSource, MailSourceError, NewRecord, RecordRefused


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a mail last failed, and what of it was in hand."""

    cause: str
    reason: str
    raw: bytes | None = None
    ref: BlobRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakerParts:
    """What taking mail needs."""

    identity: Identity
    after: AfterCommit
    owner: PartitionOwner
    intake: Intake
    topics: InboundTopics
    watch: MailboxWatch
    limits: Limits


class Taker:
    """One folder's; `known` are the raw hashes that a scan after a change of UIDVALIDITY passes over."""

    def __init__(self, parts: TakerParts) -> None:
        self._parts = parts
        self._key = (parts.identity.mailbox, parts.identity.folder)
        self._suspect: Suspect | None = None
        self._failure = _Failure("unknown", "")
        self.known: frozenset[str] = frozenset()

    @property
    def cursor(self) -> MailboxCursor | None:
        """What Kafka holds for this folder."""
        return self._parts.owner.cursors.get(self._key)

    def remember(self, progress: Progress) -> None:
        """Keep what was settled for the next session; Kafka learns it with the next transaction."""
        if progress.rescan is None:
            self._parts.owner.cursors[self._key] = progress.cursor

    async def take(self, source: MailSource, progress: Progress, listed: Sequence[ListedMail]) -> Progress:
        """Make the next of the listed mails durable; the progress behind them.

        Raises MailSourceError and MailFailed (to be tried again), Fenced.
        """
        suspect = self._suspect
        chunk = folders.plan_chunk(progress, under_suspicion(suspect, listed), self._parts.limits)
        if chunk.passed_over:
            return await self._pass_over(progress, chunk)
        # Everything else is shown to work first; what then fails once more has itself to blame.
        last_try = suspect is not None and suspect.is_poison and await self._works_otherwise(source, listed)
        try:
            progress = await self._produce(source, progress, chunk)
        except MailSourceError as error:
            self._count(chunk, _Failure("fetch", str(error)))
            if last_try:  # the session is gone: the next call of its source tells the caller
                return await self._quarantine(progress, chunk.last_uid)
            raise
        except MailFailed as error:
            self._count(chunk, _Failure(error.cause, error.reason, error.raw, error.ref))
            alone = len(chunk.whole) + len(chunk.oversize) == 1
            if alone and (last_try or error.permanent):
                return await self._quarantine(progress, chunk.last_uid)
            if error.permanent:
                return progress  # taken one by one from now on
            raise
        if suspect and chunk.last_uid >= suspect.alone_until_uid:
            self._suspect = None
        return progress

    async def write(self, prepared: Sequence[Prepared], progress: Progress) -> None:
        """One transaction: the events and the cursor. An event that is refused is cut to the bone and tried once more.

        Raises Fenced, MailFailed.
        """
        parts = self._parts
        cursor = await parts.intake.cursor_record(progress.cursor, parts.owner.partition)
        going = [one for one in prepared if one.record is not None]
        while True:
            of = [one for one in going for _ in range(1 + len(one.companions))]
            records = [record for one in going for record in (one.record, *one.companions) if record]
            try:
                await parts.owner.write([*records, cursor])
            except RecordRefused as refused:
                if refused.index >= len(records):
                    raise
                guilty = of[refused.index]
                place = going.index(guilty)
                if records[refused.index] is not guilty.record:
                    # What goes along must not cost the mail its event.
                    parts.watch.companion_refused(guilty.uid, refused.reason)
                    kept = tuple(one for one in guilty.companions if one is not records[refused.index])
                    going[place] = replace(guilty, companions=kept)
                elif guilty.slim or guilty.event is None:
                    raise MailFailed(guilty.uid, "refused", refused.reason, permanent=True) from None
                else:
                    going[place] = await parts.intake.slimmed(guilty)
            else:
                break
        parts.owner.cursors[self._key] = progress.cursor

    async def _produce(self, source: MailSource, progress: Progress, chunk: Chunk) -> Progress:
        parts = self._parts
        batch = Batch(
            mailbox=parts.identity.mailbox,
            folder=parts.identity.folder,
            uid_validity=progress.uid_validity,
            whole=chunk.whole,
            oversize=chunk.oversize,
            is_repeat=(lambda uid, sha256: folders.is_repeat(progress, uid, sha256, self.known))
            if progress.rescan
            else None,
        )
        prepared = await parts.intake.prepare(batch, source, parts.watch)
        endings = {one.uid: one.ending for one in prepared}
        after = folders.after_chunk(progress, chunk.last_uid, endings, parts.identity, datetime.now(UTC))
        if parts.after is AfterCommit.NOTHING:
            after = folders.with_settled(after, chunk.last_uid)
        await self.write(prepared, after)
        parts.watch.ended(endings)
        for one in prepared:
            if one.event is not None:
                parts.watch.received(one.event)
        return after

    async def _pass_over(self, progress: Progress, chunk: Chunk) -> Progress:
        after = folders.after_passing_over(progress, chunk, self._parts.identity, datetime.now(UTC))
        await self.write([], after)
        self._parts.watch.ended({mail.uid: Ending.SKIPPED for mail in chunk.passed_over})
        return after

    # Mails that fail

    def _count(self, chunk: Chunk, failure: _Failure) -> None:
        uids = [mail.uid for mail in (*chunk.whole, *chunk.oversize)]
        self._suspect = suspect_after(self._suspect, min(uids), max(uids))
        self._failure = failure

    async def _works_otherwise(self, source: MailSource, listed: Sequence[ListedMail]) -> bool:
        """Whether the trouble is this mail's own, not the blob store's or the mail server's. Raises MailSourceError."""
        if self._failure.cause == "blob-store":
            return await self._parts.intake.store_works(listed[0].size_bytes)
        if len(listed) == 1:
            return bool(await source.fetch_header(listed[0].uid))
        for other in listed[1:]:  # a server may answer and hand nothing out
            if await source.fetch_part(other.uid, 0, 1024):
                return True
        return False

    async def _quarantine(self, progress: Progress, uid: int) -> Progress:
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
        after = folders.after_quarantine(progress, uid, parts.identity, datetime.now(UTC))
        await self.write([Prepared(uid, Ending.QUARANTINED, None, record)], after)
        self._suspect = Suspect(uid, 0, suspect.alone_until_uid)
        parts.watch.ended({uid: Ending.QUARANTINED})
        parts.watch.quarantined(entry)
        return after
