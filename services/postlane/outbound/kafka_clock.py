"""The clock that everything in a sender goes by: see core.sharing.kafka_time."""

import asyncio
import time

from postlane.adapters.steady_clock import steady_clock
from postlane.core.sharing.kafka_time import KafkaTime
from postlane.ports import Clock


class KafkaClock:
    """Seconds since 1970; may be asked from any thread. Before the brokers' time is `known`, nothing should be begun by it."""

    def __init__(self, steady: Clock = steady_clock, wall: Clock = time.time) -> None:
        self.steady = steady
        self.known = asyncio.Event()
        self._wall = wall
        self._time = KafkaTime(wall(), steady())

    def __call__(self) -> float:
        return self._time.at(self.steady())

    def read_back(self, appended: float, composed: float) -> None:
        """On the event loop: a record of ours, composed at `composed` on the steady clock, bears this time of a broker."""
        self._time.read_back(appended, composed, self.steady())
        self.known.set()

    def skew_seconds(self) -> float:
        """How far this machine's clock is ahead of the brokers'."""
        return self._time.skew(self._wall(), self.steady())
