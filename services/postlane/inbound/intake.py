"""From mails in a folder to records for Kafka: raw into the blob store, read in a parser process, large parts stored, encoded."""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from postlane.adapters.avro_codec import Codec, Unencodable
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.adapters.parser_process import ParserPool
from postlane.core.events.mail import BlobRef
from postlane.core.events.received import MailboxCursor, MailboxReport, MailReceived, ReceivedAttachment
from postlane.core.polling.cursor_keys import cursor_key, report_key
from postlane.core.polling.folder import ListedMail
from postlane.core.polling.mailbox import Ending
from postlane.core.reading.arrival_rates import ArrivalRates, RateLimits
from postlane.core.reading.mail_event import Place, build_event, record_key, slim_event
from postlane.core.reading.mime_parse import HEADER_BLOCK_MAX
from postlane.core.reading.parsed_mail import MailReading
from postlane.inbound.attachments import AttachmentDesk
from postlane.inbound.folder_watch import FolderWatch
from postlane.inbound.topics import InboundTopics
from postlane.ports import BlobStore, BlobStoreError, MailSource, NewRecord

SOURCE = "/postlane/inbound"
PART_BYTES = 1024 * 1024  # oversize mail is fetched in such pieces
PROBE_BYTES = 4096  # one block of most file systems, so that none keeps it beside its metadata for free
ESTIMATE_SHARE_MIN = 0.5  # of the announced size; what is further off was cut, not estimated
SHORT_MAILS_MAX = 1000  # remembered until their next attempt


Companions = Callable[[MailReceived, MailReading], Sequence[NewRecord]]
"""What further records a mail brings along, such as feedback about mail of ours: written in the same transaction as its event, never alone.

Called in a thread, once per event that is produced; a raise is the mail's failure.
"""


def no_companions(_event: MailReceived, _reading: MailReading) -> Sequence[NewRecord]:
    """The event alone."""
    return ()


class MailFailed(Exception):
    """One mail cannot be made an event. `permanent` = repeating will not help; `raw` where it was fetched."""

    def __init__(self, uid: int, cause: str, reason: str, *, permanent: bool = False) -> None:
        super().__init__(f"mail {uid}: {reason}")
        self.uid = uid
        self.cause = cause
        self.reason = reason
        self.permanent = permanent
        self.raw: bytes | None = None
        self.ref: BlobRef | None = None


class _CutShort(Exception):
    """An oversize mail's parts ended before its listed size; nothing of it was stored."""

    def __init__(self, handed_out: int, size_bytes: int) -> None:
        super().__init__(f"{handed_out} of {size_bytes} bytes")


class _Rehearsed(Exception):
    """Ends a stream that is not meant to be kept."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One listed mail on its way: its event, record and companions where it has them.

    `settles`: once this is durable the mail may be flagged, moved or deleted. `slim`: already cut to the bone.
    """

    uid: int
    ending: Ending
    event: MailReceived | None = None
    record: NewRecord | None = None
    companions: tuple[NewRecord, ...] = ()
    settles: bool = False
    slim: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    """A mail that is stored and read, not encoded yet; `raw` None for oversize mail, which is never whole in memory."""

    event: MailReceived
    reading: MailReading
    raw: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """An oversize mail whose raw bytes are in the store already; `ref` None: somebody removed it meanwhile."""

    mail: ListedMail
    ref: BlobRef | None = None
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the server handed out of a batch; from here on no session is needed. A UID without raw bytes is gone."""

    raws: Mapping[int, bytes]
    streamed: tuple[Streamed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What to prepare, for which mailbox; `is_repeat` says of a raw hash that its event exists already, None = none does."""

    mailbox: str
    folder: str
    uid_validity: int
    whole: Sequence[ListedMail]
    oversize: Sequence[ListedMail]
    is_repeat: Callable[[str], bool] | None

    def place(self, mail: ListedMail) -> Place:
        """Where this mail lies."""
        return Place(
            mailbox=self.mailbox,
            folder=self.folder,
            uid_validity=self.uid_validity,
            uid=mail.uid,
            received_at=mail.received_at,
        )


class Intake:
    """Shared by all mailboxes of a process."""

    def __init__(  # noqa: PLR0913 - the parts of one process
        self,
        blobs: BlobStore,
        attachments: AttachmentDesk,
        parsers: ParserPool,
        codec: Codec,
        topics: InboundTopics,
        *,
        companions: Companions = no_companions,
        rates: ArrivalRates | None = None,
    ) -> None:
        self._blobs = blobs
        self._attachments = attachments
        self._parsers = parsers
        self._codec = codec
        self._topics = topics
        self._companions = companions
        self._rates = ArrivalRates(RateLimits()) if rates is None else rates
        self._short: dict[
            tuple[str, str, int, int], str
        ] = {}  # what came of mails that were shorter than announced

    async def fetch(self, batch: Batch, source: MailSource, watch: FolderWatch) -> Fetched:
        """All that the server has to give; oversize mail goes straight to the store. Raises MailSourceError, MailFailed."""
        raws = await self._fetched(batch, source)
        watch.fetched(sum(len(raw) for raw in raws.values()))
        await self._refuse_withheld(batch, raws, source)
        streamed = [await self._streamed(batch, mail, source, watch) for mail in batch.oversize]
        return Fetched(raws, tuple(streamed))

    async def prepare(self, batch: Batch, fetched: Fetched, watch: FolderWatch) -> list[Prepared]:
        """One entry per listed mail, in UID order. Raises MailFailed, LogUnavailable."""
        read: list[Prepared | _Read] = []
        going: list[tuple[ListedMail, bytes]] = []
        for mail in batch.whole:
            raw = fetched.raws.get(mail.uid)
            if raw is None:
                # Moved or deleted by somebody since it was listed.
                read.append(Prepared(mail.uid, Ending.SKIPPED))
            elif batch.is_repeat and batch.is_repeat(hashlib.sha256(raw).hexdigest()):
                read.append(Prepared(mail.uid, Ending.SKIPPED, settles=True))
            else:
                going.append((mail, raw))
        read += await self._whole(batch, going, watch)
        read += [await self._oversize(batch, one, watch) for one in fetched.streamed]
        prepared = await asyncio.to_thread(lambda: [self._produced(one) for one in read])
        return sorted(prepared, key=lambda one: one.uid)

    async def slimmed(self, prepared: Prepared) -> Prepared:
        """The same mail with an event as small as it can be. Raises MailFailed."""
        assert prepared.event is not None
        record = await asyncio.to_thread(self._record, slim_event(prepared.event))
        return replace(prepared, record=record, slim=True)

    async def cursor_record(self, cursor: MailboxCursor, partition: int) -> NewRecord:
        """The record of a cursor."""
        value = await asyncio.to_thread(self._codec.encode, cursor)
        return NewRecord(
            to=self._topics.cursor_at(partition),
            key=cursor_key(cursor.mailbox, cursor.folder),
            value=value,
            headers=cloud_event_headers(cursor, SOURCE),
        )

    async def report_records(self, reports: Sequence[MailboxReport], partition: int) -> list[NewRecord]:
        """The records of reports."""

        def encoded() -> list[NewRecord]:
            return [
                NewRecord(
                    to=self._topics.cursor_at(partition),
                    key=report_key(report.mailbox, report.folder),
                    value=self._codec.encode(report),
                    headers=cloud_event_headers(report, SOURCE),
                )
                for report in reports
            ]

        return await asyncio.to_thread(encoded)

    async def store_works(self, size_bytes: int = 0) -> bool:
        """Whether the blob store takes anything at all and has room for that much, so that a failure is one mail's own."""
        try:
            with contextlib.suppress(_Rehearsed):
                await self._blobs.put_stream(_rehearsal(size_bytes))
            # Random, because a blob that is there already is not written again.
            await self._blobs.put(os.urandom(PROBE_BYTES))
        except BlobStoreError:
            return False
        return True

    async def _fetched(self, batch: Batch, source: MailSource) -> dict[int, bytes]:
        """What the server hands out; nothing at all for a mail that has a size is no content."""
        if not batch.whole:
            return {}
        raws = await source.fetch([mail.uid for mail in batch.whole])
        empty = {mail.uid for mail in batch.whole if mail.size_bytes == 0}
        return {uid: raw for uid, raw in raws.items() if raw or uid in empty}

    async def _refuse_withheld(self, batch: Batch, raws: Mapping[int, bytes], source: MailSource) -> None:
        """What is listed again but was not handed out is not gone: skipping it would lose it. Raises MailFailed."""
        missing = [mail.uid for mail in batch.whole if mail.uid not in raws]
        if not missing:
            return
        # Oversize mails may lie between the missing ones.
        listed = await source.list_since(missing[0] - 1, len(batch.whole) + len(batch.oversize))
        withheld = sorted({mail.uid for mail in listed} & set(missing))
        if withheld:
            raise MailFailed(withheld[0], "fetch", "the server lists this mail but does not hand it out")

    async def _whole(
        self, batch: Batch, mails: Sequence[tuple[ListedMail, bytes]], watch: FolderWatch
    ) -> "list[_Read]":
        """Stored and read side by side; each step takes all of them at once, because on the way to another thread or process a mail costs more than there."""
        if not mails:
            return []
        raws = [raw for _, raw in mails]
        refs: list[BlobRef] = []
        reading = asyncio.create_task(self._parsers.read_all(raws))
        try:
            refs = await self._blobs.put_all(raws)
            timed = await reading
            for one in timed:
                watch.parsed(one.reading.mail.parse_status, one.seconds)
            attachments = await self._attachments.received_all(
                [one.reading.mail.attachments for one in timed]
            )
        except BlobStoreError as error:
            failed = MailFailed(mails[0][0].uid, "blob-store", str(error))
            failed.raw, failed.ref = raws[0], refs[0] if refs else None
            raise failed from None
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        return [
            _Read(self._event(batch.place(mail), ref, one.reading, received), one.reading, raw)
            for (mail, raw), ref, one, received in zip(mails, refs, timed, attachments, strict=True)
        ]

    async def _streamed(
        self, batch: Batch, mail: ListedMail, source: MailSource, watch: FolderWatch
    ) -> Streamed:
        """Its raw bytes into the store without ever being whole in memory, and its header. Raises MailSourceError, MailFailed."""
        place = (batch.mailbox, batch.folder, batch.uid_validity, mail.uid)
        try:
            ref = await self._blobs.put_stream(self._parts(place, source, mail, watch))
        except BlobStoreError as error:
            raise MailFailed(mail.uid, "blob-store", str(error)) from None
        except _CutShort as cut:
            return await self._gone(mail, source, str(cut))
        head = await source.fetch_part(mail.uid, 0, HEADER_BLOCK_MAX)
        if len(head) < min(HEADER_BLOCK_MAX, ref.size_bytes):
            return await self._gone(mail, source, f"{len(head)} bytes of its header")
        self._short.pop(place, None)
        return Streamed(mail=mail, ref=ref, head=head)

    async def _parts(
        self, place: tuple[str, str, int, int], source: MailSource, mail: ListedMail, watch: FolderWatch
    ) -> AsyncIterator[bytes]:
        """An empty part is the end, or a server that cannot reach the rest at the moment. Raises _CutShort where it may be the latter.

        Exchange estimates RFC822.SIZE. What is shorter than announced is believed once a later session has handed out the very same.
        """
        digest, at = hashlib.sha256(), 0
        while part := await source.fetch_part(mail.uid, at, PART_BYTES):
            watch.fetched(len(part))
            digest.update(part)
            at += len(part)
            yield part
        if at >= mail.size_bytes:
            return
        content = digest.hexdigest()
        if self._short.get(place) != content or at < ESTIMATE_SHARE_MIN * mail.size_bytes:
            if len(self._short) >= SHORT_MAILS_MAX:
                self._short.clear()
            self._short[place] = content
            raise _CutShort(at, mail.size_bytes)

    async def _oversize(self, batch: Batch, streamed: Streamed, watch: FolderWatch) -> "Prepared | _Read":
        """The header alone becomes the event."""
        mail, ref = streamed.mail, streamed.ref
        if ref is None:
            return Prepared(mail.uid, Ending.SKIPPED)
        if batch.is_repeat and batch.is_repeat(ref.sha256):
            return Prepared(mail.uid, Ending.SKIPPED, settles=True)
        size = f"{ref.size_bytes} bytes"
        if ref.size_bytes != mail.size_bytes:
            size += f" (its server announces {mail.size_bytes})"
        reading = await self._parsers.read_headers(
            streamed.head, f"the mail has {size}; only its headers were read"
        )
        watch.parsed(reading.mail.parse_status, 0.0)
        return _Read(self._event(batch.place(mail), ref, reading, ()), reading, None)

    async def _gone(self, mail: ListedMail, source: MailSource, handed_out: str) -> Streamed:
        """Skip a mail that somebody removed while it was fetched. Raises MailFailed where the server still lists it."""
        if any(one.uid == mail.uid for one in await source.list_since(mail.uid - 1, 1)):
            raise MailFailed(mail.uid, "fetch", f"the server lists this mail but hands out only {handed_out}")
        return Streamed(mail=mail)

    def _event(
        self, place: Place, ref: BlobRef, reading: MailReading, attachments: tuple[ReceivedAttachment, ...]
    ) -> MailReceived:
        return self._rates.weigh(build_event(place, ref, reading, attachments, datetime.now(UTC)))

    def _produced(self, read: "Prepared | _Read") -> Prepared:
        """In a thread, because a schema registry may have to be asked. Raises MailFailed."""
        if isinstance(read, Prepared):
            return read
        event = read.event
        try:
            record = self._record(event)
            companions = tuple(self._companions(event, read.reading))
        except MailFailed as error:
            error.raw, error.ref = read.raw, event.raw
            raise
        return Prepared(event.uid, Ending.PRODUCED, event, record, companions, settles=True)

    def _record(self, event: MailReceived) -> NewRecord:
        try:
            value = self._codec.encode(event)
        except Unencodable as error:
            raise MailFailed(event.uid, "unencodable", str(error), permanent=True) from None
        key = record_key(event)
        return NewRecord(
            to=self._topics.main_for(key), key=key, value=value, headers=cloud_event_headers(event, SOURCE)
        )


async def _rehearsal(size_bytes: int) -> AsyncIterator[bytes]:
    """So many bytes, then a break: the store has found room for them and keeps nothing."""
    for at in range(0, size_bytes, PART_BYTES):
        yield os.urandom(min(PART_BYTES, size_bytes - at))
    raise _Rehearsed
