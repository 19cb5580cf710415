"""A batch on its way through the phases of a Kafka transaction, with everything that may go wrong between them."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from postlane.core.sending.lane_mail import CommitBatch, Staged, WriteBatch
from sim.lanes.broker import Broker
from sim.lanes.hooks import Planted

ABORT_SHARE = 0.07
UNKNOWN_SHARE = 0.1  # the commit took place, but its sender learns so only by repeating it


class Phase(Enum):
    """What is to be done next."""

    APPEND = auto()
    OFFSETS = auto()
    END = auto()
    ANSWER = auto()


class Progress(Enum):
    """What has become of it."""

    OPEN = auto()
    DECIDED = auto()  # committed, but its sender does not know yet
    COMMITTED = auto()
    ABORTED = auto()
    FENCED = auto()


@dataclass
class Transaction:
    """`owner` is the number of its sender; the offsets and `commit` are known once it is appended."""

    number: int
    owner: int
    batch: WriteBatch
    phase: Phase = Phase.APPEND
    status_offsets: tuple[int, ...] = ()
    put_offsets: tuple[int, ...] = ()
    commit: CommitBatch | None = None

    def advance(
        self,
        broker: Broker,
        planted: Planted,
        rnd: random.Random,
        stage: Callable[[Staged], CommitBatch],
        now: float,
    ) -> Progress:
        """Do the next phase; `stage` asks the lanes what to commit."""
        if self.phase is Phase.ANSWER:
            return Progress.COMMITTED
        if planted.fenced(broker, self.number):
            broker.decide(self.number, commit=False)
            return Progress.FENCED
        if rnd.random() < ABORT_SHARE:
            broker.decide(self.number, commit=False)
            return Progress.ABORTED
        match self.phase:
            case Phase.APPEND:
                self._append(broker, now)
                commit = stage(Staged(self.status_offsets, self.put_offsets))
                self.commit = planted.commit(commit, broker)
                self.phase = Phase.OFFSETS
            case Phase.OFFSETS:
                assert self.commit is not None
                broker.pending_offsets[self.number] = self.commit.base, self.commit.pointers
                self.phase = Phase.END
            case Phase.END:
                broker.decide(self.number, commit=True)
                self.phase = Phase.ANSWER
                return Progress.DECIDED
        return Progress.OPEN

    def _append(self, broker: Broker, now: float) -> None:
        batch = self.batch
        self.status_offsets = tuple(broker.status.append(self.number, keyed, now) for keyed in batch.statuses)
        self.put_offsets = tuple(
            broker.retry.append(self.number, (copy.key, copy.put, copy.content), now) for copy in batch.puts
        )
        for key, done in batch.dones:
            broker.retry.append(self.number, (key, done, None), now)
