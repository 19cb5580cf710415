"""From parsed attachments to those of the event: scanned where a scanner is configured, small ones inline, the others stored."""

from collections.abc import Sequence
from itertools import repeat

from postlane.adapters.scanner import Scanner
from postlane.core.events.received import ReceivedAttachment
from postlane.core.reading.mail_event import ATTACHMENTS_MAX, received_attachment, travels_inline
from postlane.core.reading.parsed_mail import ParsedAttachment
from postlane.ports import BlobStore


class AttachmentDesk:
    """Shared by all mailboxes of a process."""

    def __init__(self, blobs: BlobStore, inline_bytes: int, scanner: Scanner | None) -> None:
        self._blobs = blobs
        self._inline_bytes = inline_bytes
        self._scanner = scanner

    async def received(self, attachments: Sequence[ParsedAttachment]) -> tuple[ReceivedAttachment, ...]:
        """As the event carries them, in their order, no more than it has room for. Raises BlobStoreError."""
        wanted = attachments[:ATTACHMENTS_MAX]
        inline = travels_inline(wanted, self._inline_bytes)
        scans = await self._scanner.scan([one.content for one in wanted]) if self._scanner else repeat(None)
        received: list[ReceivedAttachment] = []
        for attachment, is_inline, scan in zip(wanted, inline, scans, strict=False):
            blob = None if is_inline else await self._blobs.put(attachment.content)
            received.append(received_attachment(attachment, blob, scan))
        return tuple(received)
