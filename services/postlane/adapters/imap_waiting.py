"""Waiting for something that a connection brings, until a deadline that may be put off meanwhile."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Bell:
    """Everybody who waits looks again whenever it is rung."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Something may have changed."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, ready: Callable[[], T | None], ends_at: Callable[[], float]) -> T:
        """What `ready` gives once that is not None; `ends_at` is asked for the deadline anew each time. Raises TimeoutError, and what they raise."""
        loop = asyncio.get_running_loop()
        while (found := ready()) is None:
            moment = ends_at()
            if loop.time() >= moment:
                raise TimeoutError
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.add(waiter)
            timer = loop.call_at(moment, self.ring)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiters.discard(waiter)
        return found
