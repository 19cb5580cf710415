"""Carries the consumer group's words from its thread to the event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from threading import Semaphore

from postlane.outbound.sender import Sender
from postlane.ports import LogRecord

RELEASE_GRACE_SECONDS = 2.0  # beyond the drain time: the last commit
# On their way to the event loop; while it is busy with a take-over, a fetcher would pile up gigabytes.
BATCHES_MAX = 8
ROOM_SECONDS_MAX = 1.0  # then the group's own business goes first


class Membership:
    """A GroupListener: called from the member's thread; only `revoked` blocks it, for a bounded time."""

    def __init__(self, sender: Sender, loop: asyncio.AbstractEventLoop, drain_seconds: float) -> None:
        self._sender = sender
        self._loop = loop
        self._release_seconds = drain_seconds + RELEASE_GRACE_SECONDS
        self._room = Semaphore(BATCHES_MAX)

    def assigned(self, partitions: Sequence[int]) -> None:
        """See GroupListener."""
        self._loop.call_soon_threadsafe(self._sender.assigned, tuple(partitions))

    def revoked(self, partitions: Sequence[int]) -> None:
        """See GroupListener."""
        release = asyncio.run_coroutine_threadsafe(self._sender.release(tuple(partitions)), self._loop)
        try:
            release.result(self._release_seconds)
        except (FutureTimeoutError, CancelledError):
            self._loop.call_soon_threadsafe(self._sender.lost, tuple(partitions))

    def lost(self, partitions: Sequence[int]) -> None:
        """See GroupListener."""
        self._loop.call_soon_threadsafe(self._sender.lost, tuple(partitions))

    def fetched(self, partition: int, session: int, records: list[LogRecord]) -> None:
        """See GroupListener."""
        has_room = self._room.acquire(timeout=ROOM_SECONDS_MAX)
        self._loop.call_soon_threadsafe(self._hand_over, partition, session, records, has_room)

    def _hand_over(self, partition: int, session: int, records: list[LogRecord], had_room: bool) -> None:
        if had_room:
            self._room.release()
        self._sender.fetched(partition, session, records)

    def stumbled(self, error: str, fatal: bool) -> None:
        """See GroupListener."""
        self._loop.call_soon_threadsafe(lambda: self._sender.stumbled(error, fatal=fatal))
