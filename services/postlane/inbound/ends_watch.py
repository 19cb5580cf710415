"""Sees that what a partition's owners have committed can be read: a transaction without an end hides it, and all that comes behind it."""

import asyncio
import contextlib

from postlane.inbound.partition import PartitionOwner

CHECK_SECONDS = 2.0


class EndsWatch:
    """One partition's, beside its pollers: for what no further transaction and no mail to be settled waits for."""

    def __init__(self, owner: PartitionOwner, stop: asyncio.Event) -> None:
        self._owner = owner
        self._stop = stop

    async def run(self) -> None:
        """Until told to stop. Raises Fenced."""
        while not self._stop.is_set():
            await self._owner.seen()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), CHECK_SECONDS)
