"""A GroupListener that remembers what it was told, for tests that wait on it."""

import threading
from collections.abc import Callable, Sequence

from postlane.ports import LogRecord

WAIT_SECONDS = (
    100.0  # a condition is waited for; only a test that fails waits so long, however busy the machine
)


class RecordingListener:
    """Everything the member says, in order; `owned` is what it owns by those words."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int]]] = []
        self.records: list[LogRecord] = []
        self.sessions: list[int] = []
        self.errors: list[str] = []
        self.owned: set[int] = set()
        self._changed = threading.Condition()

    def assigned(self, partitions: Sequence[int]) -> None:
        """See ports.GroupListener."""
        with self._changed:
            self.owned |= set(partitions)
            self._note("assigned", partitions)

    def revoked(self, partitions: Sequence[int]) -> None:
        """See ports.GroupListener."""
        with self._changed:
            self.owned -= set(partitions)
            self._note("revoked", partitions)

    def lost(self, partitions: Sequence[int]) -> None:
        """See ports.GroupListener."""
        with self._changed:
            self.owned -= set(partitions)
            self._note("lost", partitions)

    def fetched(self, partition: int, session: int, records: list[LogRecord]) -> None:
        """See ports.GroupListener."""
        with self._changed:
            assert {record.at.partition for record in records} == {partition}
            self.records.extend(records)
            self.sessions.extend([session] * len(records))
            self._changed.notify_all()

    def stumbled(self, error: str, fatal: bool) -> None:
        """See ports.GroupListener."""
        with self._changed:
            self.errors.append(f"{'fatal: ' if fatal else ''}{error}")
            self._changed.notify_all()

    def wait_until(self, condition: Callable[["RecordingListener"], bool]) -> None:
        """Return as soon as the condition holds; fail with all that was heard if it does not."""
        with self._changed:
            held = self._changed.wait_for(lambda: condition(self), WAIT_SECONDS)
            assert held, f"calls {self.calls}, records {len(self.records)}, errors {self.errors}"

    def offsets(self, partition: int) -> list[int]:
        """The offsets fetched from one partition, in the order in which they came."""
        return [record.offset for record in self.records if record.at.partition == partition]

    def _note(self, call: str, partitions: Sequence[int]) -> None:
        self.calls.append((call, sorted(partitions)))
        self._changed.notify_all()
