"""Following and Publisher in memory."""

import threading
from collections.abc import Callable, Mapping

from postlane.ports import LogRecord, NewRecord, RecordsHeard, TopicPartition

STEP_SECONDS = 0.005

Fetch = Callable[[TopicPartition, int], tuple[list[LogRecord], int]]
"""Committed records of a partition from an offset on, and the next position."""


class MemoryFollowing:
    """See ports.Following."""

    def __init__(self, fetch: Fetch, starts: Mapping[TopicPartition, int], heard: RecordsHeard) -> None:
        self._fetch = fetch
        self._positions = dict(starts)
        self._heard = heard
        self.fault: Exception | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """See ports.Following.close."""
        self._closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(STEP_SECONDS):
            records: list[LogRecord] = []
            for at, position in self._positions.items():
                batch, self._positions[at] = self._fetch(at, position)
                records += batch
            if records:
                self._heard(records)


class MemoryPublisher:
    """See ports.Publisher; `write` appends at once."""

    def __init__(self, write: Callable[[NewRecord], None]) -> None:
        self._write = write

    def publish(self, record: NewRecord) -> None:
        """See ports.Publisher.publish."""
        self._write(record)

    def close(self, timeout_seconds: float) -> None:
        """See ports.Publisher.close."""
