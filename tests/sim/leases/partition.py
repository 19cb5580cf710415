"""The relay's partition of mail.relays: plain records, transactions, fencing, a group's offset, and brokers' clocks that differ a little."""

from dataclasses import dataclass, field

from postlane.core.events.relay_lease import RelayLease
from postlane.core.sharing.allocator import Entry


@dataclass(slots=True)
class Transaction:
    """`decided` None while its end is not known to the broker."""

    owner: int
    offsets: list[int] = field(default_factory=list)
    commit_to: int | None = None
    decided: bool | None = None


@dataclass(slots=True)
class Slot:
    """An offset: a record of a transaction or of none; a marker has no entry."""

    entry: Entry | None
    transaction: Transaction | None = None


class Partition:
    """All records ever written; `low` is the first that retention has left."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.low = 0
        self.epoch = 0
        self.committed: int | None = None
        self.open: list[Transaction] = []
        self.skew = 0.0  # of the leader's clock against the relay's

    @property
    def end(self) -> int:
        return len(self.slots)

    @property
    def stable_end(self) -> int:
        return min((t.offsets[0] for t in self.open if t.offsets), default=self.end)

    def append(self, lease: RelayLease, now: float, transaction: Transaction | None = None) -> int:
        offset = len(self.slots)
        self.slots.append(Slot(Entry(offset, now + self.skew, lease), transaction))
        if transaction is not None:
            transaction.offsets.append(offset)
        return offset

    def take_over(self) -> int:
        """`init_transactions`: a new epoch; what older ones left open is aborted."""
        self.epoch += 1
        for transaction in list(self.open):
            self.decide(transaction, commit=False)
        return self.epoch

    def begin(self, epoch: int, commit_to: int | None) -> Transaction | None:
        """A transaction, or None: fenced."""
        if epoch < self.epoch:
            return None
        transaction = Transaction(epoch, commit_to=commit_to)
        self.open.append(transaction)
        return transaction

    def decide(self, transaction: Transaction, *, commit: bool) -> bool:
        """End a transaction; what has become of it."""
        if transaction.decided is None:
            transaction.decided = commit
            self.open.remove(transaction)
            self.slots.append(Slot(None))
            if commit and transaction.commit_to is not None:
                self.committed = transaction.commit_to
        return transaction.decided

    def read(self, start: int, stop: int, *, dirty: bool = False) -> tuple[Entry, ...]:
        """The committed records; with `dirty` also those of open and aborted transactions."""
        return tuple(
            slot.entry
            for slot in self.slots[max(start, self.low) : stop]
            if slot.entry is not None and (dirty or slot.transaction is None or slot.transaction.decided)
        )

    def ever_committed(self, stop: int) -> tuple[Entry, ...]:
        """Also what retention has deleted since."""
        return tuple(
            slot.entry
            for slot in self.slots[:stop]
            if slot.entry is not None and (slot.transaction is None or slot.transaction.decided)
        )
