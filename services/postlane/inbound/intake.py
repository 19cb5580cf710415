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
from postlane.core.events.received import MailboxCursor, MailReceived, ReceivedAttachment
from postlane.core.polling.folder import ListedMail
from postlane.core.polling.mailbox import Ending
from postlane.core.reading.mail_event import Place, build_event, record_key, slim_event
from postlane.core.reading.mime_parse import HEADER_BLOCK_MAX
from postlane.core.reading.parsed_mail import MailReading, ParsedAttachment
from postlane.inbound.attachments import AttachmentDesk
from postlane.inbound.topics import InboundTopics, cursor_key
from postlane.inbound.watch import MailboxWatch
from postlane.ports import BlobStore, BlobStoreError, MailSource, NewRecord

SOURCE = "/postlane/inbound"
PART_BYTES = 1024 * 1024  # oversize mail is fetched in such pieces
PROBE_BYTES = 4096  # one block of most file systems, so that none keeps it beside its metadata for free
MAILS_AT_ONCE = 8  # blobs being synced and mails being read side by side


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


class _Rehearsed(Exception):
    """Ends a stream that is not meant to be kept."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One listed mail on its way: its event and record where it has one; `slim` = already cut to the bone."""

    uid: int
    ending: Ending
    event: MailReceived | None = None
    record: NewRecord | None = None
    slim: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What to prepare, for which mailbox; `is_repeat` says of (uid, raw hash) that its event exists already, None = none does."""

    mailbox: str
    folder: str
    uid_validity: int
    whole: Sequence[ListedMail]
    oversize: Sequence[ListedMail]
    is_repeat: Callable[[int, str], bool] | None

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

    def __init__(
        self,
        blobs: BlobStore,
        attachments: AttachmentDesk,
        parsers: ParserPool,
        codec: Codec,
        topics: InboundTopics,
    ) -> None:
        self._blobs = blobs
        self._attachments = attachments
        self._parsers = parsers
        self._codec = codec
        self._topics = topics
        self._slots = asyncio.Semaphore(MAILS_AT_ONCE)

    async def prepare(self, batch: Batch, source: MailSource, watch: MailboxWatch) -> list[Prepared]:
        """One entry per listed mail, in UID order. Raises MailSourceError, MailFailed, LogUnavailable."""
        raws = await self._fetched(batch, source)
        watch.fetched(sum(len(raw) for raw in raws.values()))
        await self._refuse_withheld(batch, raws, source)
        tasks = [
            asyncio.create_task(self._whole(batch, mail, raws.get(mail.uid), watch)) for mail in batch.whole
        ]
        try:
            prepared = [await task for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        prepared += [await self._oversize(batch, mail, source, watch) for mail in batch.oversize]
        return sorted(prepared, key=lambda one: one.uid)

    async def slimmed(self, prepared: Prepared) -> Prepared:
        """The same mail with an event as small as it can be. Raises MailFailed."""
        assert prepared.event is not None
        return replace(await self._encoded(slim_event(prepared.event)), slim=True)

    async def cursor_record(self, cursor: MailboxCursor, partition: int) -> NewRecord:
        """The record of a cursor."""
        value = await asyncio.to_thread(self._codec.encode, cursor)
        return NewRecord(
            to=self._topics.cursor_at(partition),
            key=cursor_key(cursor.mailbox, cursor.folder),
            value=value,
            headers=cloud_event_headers(cursor, SOURCE),
        )

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
        self, batch: Batch, mail: ListedMail, raw: bytes | None, watch: MailboxWatch
    ) -> Prepared:
        if raw is None:
            return Prepared(mail.uid, Ending.SKIPPED)  # moved or deleted by somebody since it was listed
        async with self._slots:
            if batch.is_repeat and batch.is_repeat(mail.uid, hashlib.sha256(raw).hexdigest()):
                return Prepared(mail.uid, Ending.SKIPPED)
            ref: BlobRef | None = None
            try:
                ref = await self._stored(mail.uid, raw)
                timed = await self._parsers.read(raw)
                watch.parsed(timed.reading.mail.parse_status, timed.seconds)
                attachments = await self._received(mail.uid, timed.reading.mail.attachments)
                return await self._encoded(self._event(batch.place(mail), ref, timed.reading, attachments))
            except MailFailed as error:
                error.raw, error.ref = raw, ref
                raise

    async def _oversize(
        self, batch: Batch, mail: ListedMail, source: MailSource, watch: MailboxWatch
    ) -> Prepared:
        """The header alone becomes the event; the raw mail goes to the blob store without ever being whole in memory."""
        try:
            ref = await self._blobs.put_stream(_parts(source, mail, watch))
        except BlobStoreError as error:
            raise MailFailed(mail.uid, "blob-store", str(error)) from None
        except _CutShort as cut:
            return await self._gone(mail, source, str(cut))
        if batch.is_repeat and batch.is_repeat(mail.uid, ref.sha256):
            return Prepared(mail.uid, Ending.SKIPPED)
        head = await source.fetch_part(mail.uid, 0, HEADER_BLOCK_MAX)
        if len(head) < min(HEADER_BLOCK_MAX, ref.size_bytes):
            return await self._gone(mail, source, f"{len(head)} bytes of its header")
        reading = await self._parsers.read_headers(
            head, f"the mail has {ref.size_bytes} bytes; only its headers were read"
        )
        watch.parsed(reading.mail.parse_status, 0.0)
        return await self._encoded(self._event(batch.place(mail), ref, reading, ()))

    async def _gone(self, mail: ListedMail, source: MailSource, handed_out: str) -> Prepared:
        """Skip a mail that somebody removed while it was fetched. Raises MailFailed where the server still lists it."""
        if any(one.uid == mail.uid for one in await source.list_since(mail.uid - 1, 1)):
            raise MailFailed(mail.uid, "fetch", f"the server lists this mail but hands out only {handed_out}")
        return Prepared(mail.uid, Ending.SKIPPED)

    async def _stored(self, uid: int, content: bytes) -> BlobRef:
        try:
            return await self._blobs.put(content)
        except BlobStoreError as error:
            raise MailFailed(uid, "blob-store", str(error)) from None

    async def _received(
        self, uid: int, attachments: tuple[ParsedAttachment, ...]
    ) -> tuple[ReceivedAttachment, ...]:
        try:
            return await self._attachments.received(attachments)
        except BlobStoreError as error:
            raise MailFailed(uid, "blob-store", str(error)) from None

    def _event(
        self, place: Place, ref: BlobRef, reading: MailReading, attachments: tuple[ReceivedAttachment, ...]
    ) -> MailReceived:
        return build_event(place, ref, reading, attachments, datetime.now(UTC))

    async def _encoded(self, event: MailReceived) -> Prepared:
        """In a thread, because a schema registry may have to be asked. Raises MailFailed."""
        try:
            value = await asyncio.to_thread(self._codec.encode, event)
        except Unencodable as error:
            raise MailFailed(event.uid, "unencodable", str(error), permanent=True) from None
        key = record_key(event)
        record = NewRecord(
            to=self._topics.main_for(key), key=key, value=value, headers=cloud_event_headers(event, SOURCE)
        )
        return Prepared(event.uid, Ending.PRODUCED, event, record)


async def _parts(source: MailSource, mail: ListedMail, watch: MailboxWatch) -> AsyncIterator[bytes]:
    at = 0
    while part := await source.fetch_part(mail.uid, at, PART_BYTES):
        watch.fetched(len(part))
        at += len(part)
        yield part
    if at < mail.size_bytes:  # an empty part is the end, or a server that cannot reach the rest at the moment
        raise _CutShort(f"{at} of {mail.size_bytes} bytes")


async def _rehearsal(size_bytes: int) -> AsyncIterator[bytes]:
    """So many bytes, then a break: the store has found room for them and keeps nothing."""
    for at in range(0, size_bytes, PART_BYTES):
        yield os.urandom(min(PART_BYTES, size_bytes - at))
    raise _Rehearsed
