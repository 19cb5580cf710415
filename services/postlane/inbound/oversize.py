"""Mail too large to be held: its raw bytes go from the server into the blob store in parts, and its header is kept."""

import hashlib
from collections.abc import AsyncIterator

from postlane.core.polling.folder import ListedMail
from postlane.core.reading.mime_parse import HEADER_BLOCK_MAX
from postlane.inbound.batches import Batch, MailFailed, Streamed
from postlane.inbound.folder_watch import FolderWatch
from postlane.ports import BlobStore, BlobStoreError, MailSource

PART_BYTES = 1024 * 1024  # oversize mail is fetched in such pieces
ESTIMATE_SHARE_MIN = 0.5  # of the announced size; what is further off was cut, not estimated
SHORT_MAILS_MAX = 1000  # remembered until their next attempt

MailPlace = tuple[str, str, int, int]


class _CutShort(Exception):
    """An oversize mail's parts ended before its listed size; nothing of it was stored."""

    def __init__(self, handed_out: int, size_bytes: int) -> None:
        super().__init__(f"{handed_out} of {size_bytes} bytes")


class OversizeMails:
    """Shared by all mailboxes of a process."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._short: dict[MailPlace, str] = {}  # what came of mails that were shorter than announced

    async def stream(
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
        self, place: MailPlace, source: MailSource, mail: ListedMail, watch: FolderWatch
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

    async def _gone(self, mail: ListedMail, source: MailSource, handed_out: str) -> Streamed:
        """Skip a mail that somebody removed while it was fetched. Raises MailFailed where the server still lists it."""
        if any(one.uid == mail.uid for one in await source.list_since(mail.uid - 1, 1)):
            raise MailFailed(mail.uid, "fetch", f"the server lists this mail but hands out only {handed_out}")
        return Streamed(mail=mail)
