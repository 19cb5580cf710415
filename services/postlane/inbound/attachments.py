"""From parsed attachments to those of the event: scanned where a scanner is configured, small ones inline, the others stored."""

import asyncio
from collections.abc import Sequence

from postlane.adapters.scanner import Scanner
from postlane.core.events.received import ReceivedAttachment, Scan
from postlane.core.reading.mail_event import ATTACHMENTS_MAX, received_attachment, travels_inline
from postlane.core.reading.parsed_mail import ParsedAttachment
from postlane.ports import BlobStore

SCANNED_AT_ONCE = 64  # mails; the time limit of the others has not begun


class AttachmentDesk:
    """Shared by all mailboxes of a process."""

    def __init__(self, blobs: BlobStore, inline_bytes: int, scanner: Scanner | None) -> None:
        self._blobs = blobs
        self._inline_bytes = inline_bytes
        self._scanner = scanner
        self._scanning = asyncio.Semaphore(SCANNED_AT_ONCE)

    async def received_all(
        self, mails: Sequence[Sequence[ParsedAttachment]]
    ) -> list[tuple[ReceivedAttachment, ...]]:
        """Those of many mails as their events carry them, in their order, no more than each has room for. Raises BlobStoreError."""
        wanted = [attachments[:ATTACHMENTS_MAX] for attachments in mails]
        inline = [travels_inline(attachments, self._inline_bytes) for attachments in wanted]
        scans = await asyncio.gather(*(self._scanned(attachments) for attachments in wanted))
        stored = [
            attachment.content
            for attachments, flags in zip(wanted, inline, strict=True)
            for attachment, is_inline in zip(attachments, flags, strict=True)
            if not is_inline
        ]
        refs = iter(await self._blobs.put_all(stored))
        return [
            tuple(
                received_attachment(attachment, None if is_inline else next(refs), scan)
                for attachment, is_inline, scan in zip(attachments, flags, found, strict=True)
            )
            for attachments, flags, found in zip(wanted, inline, scans, strict=True)
        ]

    async def _scanned(self, attachments: Sequence[ParsedAttachment]) -> Sequence[Scan | None]:
        if self._scanner is None or not attachments:
            return [None] * len(attachments)
        async with self._scanning:
            return await self._scanner.scan([one.content for one in attachments])
