"""Sees that what a partition's owners have committed can be read: a transaction without an end hides it, and all that comes behind it."""

import asyncio
import contextlib

import structlog

from postlane.inbound.partition import PartitionOwner
from postlane.ports import Clock, LogUnavailable, TopicPartition

CHECK_SECONDS = 2.0
STILL_SECONDS = (
    4.0  # whoever writes ends a transaction within milliseconds; a needless end costs a repeated record
)

log = structlog.get_logger(__name__)


class EndsWatch:
    """One partition's, beside its pollers. Asks only about places in which something was written since they were last seen whole."""

    def __init__(self, owner: PartitionOwner, clock: Clock, stop: asyncio.Event) -> None:
        self._owner = owner
        self._clock = clock
        self._stop = stop
        self._still: dict[TopicPartition, tuple[int, float]] = {}  # where the readable part ends, since when

    async def run(self) -> None:
        """Until told to stop. Raises Fenced."""
        while not self._stop.is_set():
            try:
                stuck = await asyncio.to_thread(self._stuck)
            except LogUnavailable as error:
                log.info("ends_not_checked", partition=self._owner.partition, reason=str(error))
                self._still.clear()
            else:
                if stuck:
                    await self._owner.end_forgotten(stuck)
                    self._still.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), CHECK_SECONDS)

    def _stuck(self) -> list[TopicPartition]:
        """Where nothing has become readable for a while. Raises LogUnavailable."""
        return [at for at in self._owner.unseen.places() if self._is_stuck(at)]

    def _is_stuck(self, at: TopicPartition) -> bool:
        end, now = self._owner.unseen.stable_end(at), self._clock()
        if at not in self._owner.unseen.places():
            self._still.pop(at, None)
            return False
        stood, since = self._still.get(at, (end, now))
        self._still[at] = (end, since if stood == end else now)
        return now - self._still[at][1] >= STILL_SECONDS
