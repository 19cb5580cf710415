"""Bugs planted in the real core, one class each; the simulation must catch every one of them."""

from dataclasses import replace

from postlane.core.committing import Outcome
from postlane.core.lane_mail import CommitBatch, LaneMail, Recovered
from postlane.core.lane_queue import Lane
from postlane.core.lanes import Lanes
from postlane.core.status import MailState, Origin
from sim.broker import Broker
from sim.sender import Planted


class _NoLaneBlockLanes(Lanes):
    def place(self, lane: Lane, now: float) -> None:
        if lane.busy is None and lane.mails and lane.mails[0].due > now:
            lane.mails.append(lane.mails.pop(0))
        super().place(lane, now)


class _WriteOrderLanes(Lanes):
    def rank(self, origin: Origin) -> tuple[int, int]:
        del origin
        return 0, 0


class _NoGuardLanes(Lanes):
    def guard_position(self, mail: LaneMail) -> int | None:
        del mail
        return None


class _DeadNotAwaitedLanes(Lanes):
    def awaits_commit(self, outcome: Outcome) -> bool:
        return super().awaits_commit(outcome) and outcome.status.status.state is not MailState.FAILED


class NoLaneBlock(Planted):
    """A lane does not block while its head waits for a retry: the followers overtake it."""

    lanes_type = _NoLaneBlockLanes


class WriteOrder(Planted):
    """The journal is taken in the order in which it was written, not by origin."""

    lanes_type = _WriteOrderLanes

    def recovered(self, recovered: Recovered) -> Recovered:
        return replace(recovered, parked=tuple(sorted(recovered.parked, key=lambda item: item[0])))


class NoGuard(Planted):
    """A parked mail starts before the main position has passed its origin."""

    lanes_type = _NoGuardLanes


class DeadNotAwaited(Planted):
    """A dead mail's successor starts before the death is durable."""

    lanes_type = _DeadNotAwaitedLanes


class RetryPointerAtEnd(Planted):
    """The journal is read from its end: parked mail is forgotten."""

    def commit(self, commit: CommitBatch, broker: Broker) -> CommitBatch:
        return replace(commit, pointers=replace(commit.pointers, retry_from=broker.retry.end))


class StatusPointerAtEnd(Planted):
    """The statuses are read from their end: finished mail is sent again."""

    def commit(self, commit: CommitBatch, broker: Broker) -> CommitBatch:
        return replace(commit, pointers=replace(commit.pointers, status_from=broker.status.end))


class NoLedger(Planted):
    """What the statuses prove is ignored."""

    def recovered(self, recovered: Recovered) -> Recovered:
        return replace(recovered, done={})


class CommitPosition(Planted):
    """The read position is committed instead of the lowest unfinished offset."""

    def commit(self, commit: CommitBatch, broker: Broker) -> CommitBatch:
        return replace(commit, base=len(broker.main))


class DeferredProvesDone(Planted):
    """Waiting is taken for an end."""

    def recovered(self, recovered: Recovered) -> Recovered:
        return replace(recovered, parked=())


PLANTED: tuple[type[Planted], ...] = (
    NoLaneBlock,
    WriteOrder,
    NoGuard,
    DeadNotAwaited,
    RetryPointerAtEnd,
    StatusPointerAtEnd,
    NoLedger,
    CommitPosition,
    DeferredProvesDone,
)
