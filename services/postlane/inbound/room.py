"""How much raw mail a process holds at once, over all of its mailboxes."""

import asyncio
from collections import deque


class Room:
    """Bytes are taken in the order of asking; what is larger than the whole gets it when it is empty."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size_bytes: int) -> int:
        """Wait until there is room; returns what must be given back."""
        size = min(size_bytes, self._bytes_max)
        if not self._waiting and self._fits(size):
            self._held += size
            return size
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append((size, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.give_back(size)
            else:
                self._waiting.remove((size, granted))
                self._admit()
            raise
        return size

    def give_back(self, size: int) -> None:
        """It is not held any more."""
        self._held -= size
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            size, granted = self._waiting.popleft()
            if not granted.done():
                self._held += size
                granted.set_result(None)

    def _fits(self, size: int) -> bool:
        return self._held + size <= self._bytes_max
