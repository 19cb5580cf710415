"""From mails in a folder to records for Kafka: raw into the blob store, read in a parser process, large parts stored, encoded."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from postlane.adapters.parser_process import ParserPool
from postlane.core.events.mail import BlobRef
from postlane.core.events.received import MailReceived, ReceivedAttachment
from postlane.core.polling.folder import ListedMail
from postlane.core.polling.mailbox import Ending
from postlane.core.reading.arrival_rates import ArrivalRates, RateLimits
from postlane.core.reading.mail_event import Place, build_event, slim_event
from postlane.core.reading.parsed_mail import MailReading
from postlane.inbound.attachments import AttachmentDesk
from postlane.inbound.batches import Batch, Fetched, MailFailed, Prepared, Streamed
from postlane.inbound.folder_watch import FolderWatch
from postlane.inbound.oversize import OversizeMails
from postlane.inbound.records import InboundRecords
from postlane.inbound.store_probe import store_works
from postlane.ports import BlobStore, BlobStoreError, MailSource, NewRecord

Companions = Callable[[MailReceived, MailReading], Sequence[NewRecord]]
"""What further records a mail brings along, such as feedback about mail of ours: written in the same transaction as its event, never alone.

Called in a thread, once per event that is produced; a raise is the mail's failure.
"""


def no_companions(_event: MailReceived, _reading: MailReading) -> Sequence[NewRecord]:
    """The event alone."""
    return ()


@dataclass(frozen=True, slots=True)
class _Read:
    """A mail that is stored and read, not encoded yet; `raw` None for oversize mail, which is never whole in memory."""

    event: MailReceived
    reading: MailReading
    raw: bytes | None


class Intake:
    """Shared by all mailboxes of a process."""

    def __init__(
        self,
        blobs: BlobStore,
        attachments: AttachmentDesk,
        parsers: ParserPool,
        records: InboundRecords,
        *,
        companions: Companions = no_companions,
        rates: ArrivalRates | None = None,
    ) -> None:
        self._blobs = blobs
        self._attachments = attachments
        self._parsers = parsers
        self._records = records
        self._companions = companions
        self._rates = ArrivalRates(RateLimits()) if rates is None else rates
        self._oversize_mails = OversizeMails(blobs)

    async def fetch(self, batch: Batch, source: MailSource, watch: FolderWatch) -> Fetched:
        """All that the server has to give; oversize mail goes straight to the store. Raises MailSourceError, MailFailed."""
        raws = await self._fetched(batch, source)
        watch.fetched(sum(len(raw) for raw in raws.values()))
        await self._refuse_withheld(batch, raws, source)
        streamed = [await self._oversize_mails.stream(batch, mail, source, watch) for mail in batch.oversize]
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
        record = await asyncio.to_thread(self._records.received, slim_event(prepared.event))
        return replace(prepared, record=record, slim=True)

    async def store_works(self, size_bytes: int) -> bool:
        """Whether the blob store takes anything at all and has room for that much, so that a failure is one mail's own."""
        return await store_works(self._blobs, size_bytes)

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
            record = self._records.received(event)
            companions = tuple(self._companions(event, read.reading))
        except MailFailed as error:
            error.raw, error.ref = read.raw, event.raw
            raise
        return Prepared(event.uid, Ending.PRODUCED, event, record, companions, settles=True)
