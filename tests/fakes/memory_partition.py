"""One partition of the log in memory: its offsets, and where each transaction began and how it ended there."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from postlane.ports import CommitPoint, LogRecord, TopicPartition


class State(Enum):
    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


@dataclass(eq=False, slots=True)
class Transaction:
    """One transaction; its records become visible or vanish with its state."""

    state: State = State.OPEN
    touched: set[TopicPartition] = field(default_factory=set)
    points: list[tuple[str, TopicPartition, CommitPoint]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Slot:
    """One offset of a partition: a record, or the marker (record None) that ends its transaction here."""

    record: LogRecord | None
    transaction: Transaction


@dataclass(slots=True)
class Partition:
    """What lies in one partition; `low` is the first offset not deleted by retention."""

    slots: list[Slot] = field(default_factory=list)
    low: int = 0
    open_since: dict[Transaction, int] = field(default_factory=dict)
    ends: dict[Transaction, State] = field(default_factory=dict)

    @property
    def stable_end(self) -> int:
        """The last stable offset: where the first open transaction begins."""
        return min(self.open_since.values(), default=len(self.slots))

    def end(self, transactions: Iterable[Transaction], state: State) -> None:
        """Write the marker that ends all of these, which are of one id, alike."""
        ended = [one for one in transactions if self.open_since.pop(one, None) is not None]
        if ended:
            self.ends |= dict.fromkeys(ended, state)
            self.slots.append(Slot(None, ended[-1]))

    def readable(self, start: int, stop: int) -> list[LogRecord]:
        """Committed records in that range, as far as it is stable."""
        span = self.slots[max(start, self.low) : min(stop, self.stable_end)]
        return [
            slot.record for slot in span if slot.record and self._end_of(slot.transaction) is State.COMMITTED
        ]

    def _end_of(self, transaction: Transaction) -> State:
        return self.ends.get(transaction, transaction.state)
