"""A broker for the simulation: transactions in phases, markers that reach partitions one by one, fencing by transactional id."""

import random
from dataclasses import dataclass, field
from typing import Any

from postlane.core.pointers import Pointers


@dataclass
class Log:
    """One partition: entries are (transaction, payload); markers are (None, None) and occupy offsets."""

    entries: list[tuple[int | None, Any]] = field(default_factory=list)
    open: set[int] = field(default_factory=set)

    def append(self, transaction: int, payload: Any) -> int:
        self.entries.append((transaction, payload))
        self.open.add(transaction)
        return len(self.entries) - 1

    def mark(self, transaction: int) -> None:
        if transaction in self.open:
            self.open.discard(transaction)
            self.entries.append((None, None))

    @property
    def end(self) -> int:
        return len(self.entries)

    @property
    def stable_end(self) -> int:
        """The last stable offset: the first entry of an open transaction, else the end."""
        if not self.open:
            return self.end
        return next(i for i, (transaction, _) in enumerate(self.entries) if transaction in self.open)


@dataclass(frozen=True)
class MainRecord:
    """One request: the `number`-th of its ticket. `replay_of` names recipients left when it repeats a dead one."""

    ticket: int
    number: int


class Broker:
    """Partition p of main, retry and status, the group's offset of main-p, and p's transactional id."""

    def __init__(self) -> None:
        self.topic_number = 0
        self.main: list[MainRecord] = []
        self.retry = Log()
        self.status = Log()
        self.commit: tuple[int, Pointers] | None = None
        self.epoch = 0
        self.transactions = 0
        self.owner_of: dict[int, int] = {}
        self.decided: dict[int, bool] = {}
        self.pending_offsets: dict[int, tuple[int, int, Pointers]] = {}
        self.markers: list[tuple[str, int]] = []

    @property
    def topic_id(self) -> str:
        return f"topic{self.topic_number}"

    def recreate_main(self) -> None:
        """Delete and create the main topic: a new id, no records, no committed offset."""
        self.topic_number += 1
        self.main = []
        self.commit = None

    def init_transactions(self, epoch: int) -> bool:
        """Fence older holders and abort what they left open; True once every marker is written."""
        if self.epoch < epoch:
            self.epoch = epoch
            for transaction, owner in self.owner_of.items():
                if owner < epoch:
                    self.decide(transaction, commit=False)
        return not self.markers

    def begin(self, epoch: int) -> int:
        self.transactions += 1
        self.owner_of[self.transactions] = epoch
        return self.transactions

    def fenced(self, transaction: int) -> bool:
        return self.owner_of[transaction] < self.epoch or transaction in self.decided

    def decide(self, transaction: int, *, commit: bool) -> None:
        if transaction not in self.decided:
            self.decided[transaction] = commit
            self.markers += [(place, transaction) for place in ("offsets", "retry", "status")]

    def write_marker(self, rnd: random.Random) -> None:
        """One partition learns how one transaction ended."""
        place, transaction = self.markers.pop(rnd.randrange(len(self.markers)))
        if place == "offsets":
            pending = self.pending_offsets.pop(transaction, None)
            if pending is not None and self.decided[transaction] and pending[0] == self.topic_number:
                self.commit = pending[1], pending[2]
        else:
            (self.retry if place == "retry" else self.status).mark(transaction)

    def committed(self, log: Log, start: int, stop: int) -> list[tuple[int, Any]]:
        """The committed payloads from start to stop with their offsets."""
        return [
            (offset, payload)
            for offset in range(start, stop)
            for transaction, payload in [log.entries[offset]]
            if transaction is not None and self.decided.get(transaction)
        ]
