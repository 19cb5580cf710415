"""A broker for the simulation: transactions in phases, markers that reach partitions one by one, fencing by transactional id."""

import random
from dataclasses import dataclass, field
from typing import Any

from postlane.core.events.status import Origin
from postlane.core.sending.lane_mail import DeadCopy, MailDecided, TicketFreed, TicketHeld
from postlane.core.sending.pointers import Pointers, encode_pointers
from sim.lanes.records import MainRecord

Command = TicketHeld | TicketFreed | MailDecided


@dataclass(slots=True)
class Log:
    """One partition: entries are (transaction, payload, seconds); markers are (None, None, 0) and occupy offsets."""

    entries: list[tuple[int | None, Any, float]] = field(default_factory=list)
    open: set[int] = field(default_factory=set)

    def append(self, transaction: int, payload: Any, now: float) -> int:
        self.entries.append((transaction, payload, now))
        self.open.add(transaction)
        return len(self.entries) - 1

    def mark(self, transaction: int) -> None:
        if transaction in self.open:
            self.open.discard(transaction)
            self.entries.append((None, None, 0.0))

    @property
    def end(self) -> int:
        return len(self.entries)

    @property
    def stable_end(self) -> int:
        """The last stable offset: the first entry of an open transaction, else the end."""
        if not self.open:
            return self.end
        return next(i for i, (transaction, _, _) in enumerate(self.entries) if transaction in self.open)


@dataclass(frozen=True, eq=False)
class DeadLetter:
    """A record of the dead-letter topic."""

    record: MainRecord
    topic_number: int
    copy: DeadCopy


class Broker:
    """Partition p of main, retry, status and control, the group's offset of main-p, and p's transactional id."""

    def __init__(self) -> None:
        self.topic_number = 0
        self.main: list[MainRecord | None] = []  # None: a transaction's marker, or a record of an aborted one
        self.main_low = 0
        self.retry = Log()
        self.status = Log()
        self.control: list[Command] = []
        self.dead: list[DeadLetter] = []  # open ones
        self.records: dict[bytes, MainRecord] = {}  # by the value of their content
        self.commit: tuple[int, str] | None = None
        self.epoch = 0
        self.transactions = 0
        self.owner_of: dict[int, int] = {}
        self.decided: dict[int, bool] = {}
        self.pending_offsets: dict[int, tuple[int, Pointers]] = {}
        self.markers: list[tuple[str, int]] = []

    @property
    def topic_id(self) -> str:
        return f"topic{self.topic_number}"

    # The main and the control topic

    def produce(self, record: MainRecord) -> Origin:
        """Append a request; where it stands."""
        assert record.content.value is not None
        self.records[record.content.value] = record
        self.main.append(record)
        return Origin(self.topic_id, len(self.main) - 1)

    def skip_offset(self) -> None:
        """An offset without a record that a reader sees."""
        self.main.append(None)

    def recreate_main(self, *, forget_commit: bool) -> None:
        """Delete and create the main topic: a new id, no records; the group's offset is deleted with it, or stays behind."""
        self.topic_number += 1
        self.main, self.main_low = [], 0
        if forget_commit:
            self.commit = None

    def commands(self, start: int, rnd: random.Random) -> list[Command]:
        """The commands from `start` on, without some of those that newer ones of their key replace."""
        compacted = rnd.random() < 0.5
        newest = {_subject(command): at for at, command in enumerate(self.control)}
        return [
            command
            for at, command in enumerate(self.control)
            if at >= start and not (compacted and newest[_subject(command)] != at)
        ]

    # Transactions

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
            if pending is not None and self.decided[transaction]:
                self.commit = pending[0], encode_pointers(pending[1])
        else:
            (self.retry if place == "retry" else self.status).mark(transaction)

    def committed(self, log: Log, start: int, stop: int) -> list[tuple[int, Any, float]]:
        """The committed payloads from start to stop with their offsets and times."""
        return [
            (offset, payload, at)
            for offset in range(start, stop)
            for transaction, payload, at in [log.entries[offset]]
            if transaction is not None and self.decided.get(transaction)
        ]


def _subject(command: Command) -> bytes | Origin:
    """What a command is about: the key under which the compacted topic keeps the newest."""
    return command.origin if isinstance(command, MailDecided) else command.key
