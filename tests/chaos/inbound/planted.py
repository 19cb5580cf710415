"""`python -m chaos.inbound.planted BUG ...`: the same program as `postlane`, with one bug planted, to show that a run would find it.

cursor-first     the cursor is committed before the events that it covers
cursor-last      the events are committed before their cursor
settle-first     mail is deleted from its mailbox before its event is durable
no-fence         a new owner reads the cursors, and fences the former one a while later; nobody hears that the group gives partitions away
deaf             only the latter: where owners are fenced, it does no harm, and nothing is to be found
no-hashes        a folder with a new UIDVALIDITY is scanned without asking what was produced already
no-blob          an event names raw bytes that were not stored
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256

from postlane.adapters.blob_directory import BlobDirectory
from postlane.adapters.imap_source import ImapSource
from postlane.adapters.kafka_writer import KafkaWriter
from postlane.core.events.mail import BlobRef
from postlane.inbound.cursors import CursorReader
from postlane.inbound.ownership import Ownership
from postlane.inbound.partition import PartitionOwner
from postlane.ops.cli import main
from postlane.ports import NewRecord

PROGRAM = "chaos.inbound.planted"
CARELESS_SECONDS = 3.0  # a poller that was stopped goes on within it


def _cursor_apart(*, first: bool) -> None:
    stage = KafkaWriter.stage

    def apart(self: KafkaWriter, records: Sequence[NewRecord]) -> list[int]:
        *events, cursor = records
        if not events:
            return stage(self, records)
        before = stage(self, [cursor] if first else events)
        self.commit()
        after = stage(self, events if first else [cursor])
        return [*after, *before] if first else [*before, *after]

    KafkaWriter.stage = apart  # type: ignore[method-assign]


def _settle_first() -> None:
    fetch = ImapSource.fetch

    async def eager(self: ImapSource, uids: Sequence[int]) -> dict[int, bytes]:
        contents = await fetch(self, uids)
        await self.delete(uids)
        return contents

    ImapSource.fetch = eager  # type: ignore[method-assign]


def _deaf() -> None:
    def unheard(self: Ownership, partitions: Sequence[int]) -> None:
        del self, partitions

    Ownership.lost = unheard  # type: ignore[method-assign]


def _no_fence() -> None:
    _deaf()
    take_over = PartitionOwner.take_over

    async def careless(self: PartitionOwner) -> None:
        cursors = await asyncio.to_thread(self._reader.cursors, self.partition)
        await asyncio.sleep(CARELESS_SECONDS)
        await take_over(self)
        self.cursors = cursors

    PartitionOwner.take_over = careless  # type: ignore[method-assign]


def _no_hashes() -> None:
    def none(self: CursorReader, mailbox: str, since_ms: int | None) -> frozenset[str]:
        del self, mailbox, since_ms
        return frozenset()

    CursorReader.produced_hashes = none  # type: ignore[method-assign]


def _no_blob() -> None:
    put = BlobDirectory.put

    async def forgetful(self: BlobDirectory, content: bytes) -> BlobRef:
        digest = sha256(content).hexdigest()
        return (
            BlobRef(sha256=digest, size_bytes=len(content)) if digest[0] == "0" else await put(self, content)
        )

    BlobDirectory.put = forgetful  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    "cursor-first": lambda: _cursor_apart(first=True),
    "cursor-last": lambda: _cursor_apart(first=False),
    "settle-first": _settle_first,
    "deaf": _deaf,
    "no-fence": _no_fence,
    "no-hashes": _no_hashes,
    "no-blob": _no_blob,
}


if __name__ == "__main__":
    BUGS[sys.argv.pop(1)]()
    main()
