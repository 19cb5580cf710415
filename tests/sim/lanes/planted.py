"""Bugs planted in the real core or in what goes on around it, one class each; the simulation must catch every one of them."""

from dataclasses import replace

from postlane.core.events.status import MailStatus
from postlane.core.events.trail import Put
from postlane.core.limits.held_senders import PROBE_SECONDS, HeldSenders, Trial
from postlane.core.sending.lane_mail import CommitBatch, PutCopy, Recovered, WriteBatch
from postlane.core.smtp.attempt import SenderHeld
from sim.lanes.broker import Broker, Command
from sim.lanes.hooks import Planted
from sim.lanes.planted_lanes import (
    DeadNotAwaitedLanes,
    HeldTicketSentLanes,
    NoBoundLanes,
    NoCautionLanes,
    NoGuardLanes,
    NoLaneBlockLanes,
    OrderWithoutTopicLanes,
    PartialInMemoryLanes,
    RefusalCountedLanes,
    StaleDecisionLanes,
    WriteOrderLanes,
)


class ForgetfulSenders(HeldSenders):
    """See RefusedSenderTried."""

    def begin(self, sender: str, now: float, jitter: float) -> Trial | SenderHeld:
        del now, jitter
        return Trial(sender)


class ManyProbesSenders(HeldSenders):
    """See ManyProbes."""

    def begin(self, sender: str, now: float, jitter: float) -> Trial | SenderHeld:
        begun = super().begin(sender, now, jitter)
        return (
            begun if isinstance(begun, SenderHeld) and begun.wait_seconds != PROBE_SECONDS else Trial(sender)
        )


class NoLaneBlock(Planted):
    """A lane does not block while its head waits for a retry: the followers overtake it."""

    lanes_type = NoLaneBlockLanes


class WriteOrder(Planted):
    """The journal is taken in the order in which it was written, not by origin."""

    lanes_type = WriteOrderLanes

    def recovered(self, recovered: Recovered) -> Recovered:
        return replace(recovered, parked=tuple(sorted(recovered.parked, key=lambda item: item[0])))


class NoGuard(Planted):
    """A parked mail starts before the main position has passed its origin."""

    lanes_type = NoGuardLanes


class DeadNotAwaited(Planted):
    """A dead mail's successor starts before the death is durable."""

    lanes_type = DeadNotAwaitedLanes


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

    def status(self, status: MailStatus, topic_id: str) -> MailStatus:
        del topic_id
        return replace(status, final=True)


class ParkedForgotten(Planted):
    """A new owner does not read the journal."""

    def recovered(self, recovered: Recovered) -> Recovered:
        return replace(recovered, parked=())


class LedgerWithoutTopic(Planted):
    """Statuses of an earlier topic of that name prove something about this one."""

    def status(self, status: MailStatus, topic_id: str) -> MailStatus:
        return replace(status, topic_id=topic_id)


class OrderWithoutTopic(Planted):
    """Origins are ordered and guarded by offset alone, whatever topic they are of."""

    lanes_type = OrderWithoutTopicLanes


class NoFence(Planted):
    """A new owner does not fence the one before it."""

    def init_transactions(self, broker: Broker, number: int) -> bool:
        del broker, number
        return True

    def fenced(self, broker: Broker, transaction: int) -> bool:
        return transaction in broker.decided


class ReadToStableEnd(Planted):
    """A new owner does not wait for markers, and reads only as far as open transactions let it."""

    def init_transactions(self, broker: Broker, number: int) -> bool:
        broker.init_transactions(number)
        return True

    def ends(self, broker: Broker) -> tuple[int, int]:
        return broker.status.stable_end, broker.retry.stable_end


class HoldInMemory(Planted):
    """That a dead mail waits for a person is known in memory alone."""

    def batch(self, batch: WriteBatch, broker: Broker) -> WriteBatch:
        del broker
        return replace(batch, puts=tuple(_forget(copy, held=True) for copy in batch.puts))


class PartialInMemory(Planted):
    """After a partial delivery a short delay is waited for in memory: a new owner serves everybody again."""

    lanes_type = PartialInMemoryLanes


class ReplayServesAll(Planted):
    """A replay goes to all recipients of the request."""

    def remaining(self, remaining: tuple[str, ...] | None) -> tuple[str, ...] | None:
        del remaining
        return None


class HeldTicketSent(Planted):
    """A held ticket's parked mail is loaded and sent when it is due."""

    lanes_type = HeldTicketSentLanes


class StaleDecision(Planted):
    """A decision counts although the mail has died again since."""

    lanes_type = StaleDecisionLanes


class CommandsIgnored(Planted):
    """A new owner does not read what operators wanted before it came."""

    def wishes(self, commands: list[Command]) -> list[Command]:
        del commands
        return []


class RefreshForgetsHold(Planted):
    """A refreshed put forgets that its mail is held."""

    def batch(self, batch: WriteBatch, broker: Broker) -> WriteBatch:
        return replace(
            batch, puts=tuple(_forget(c, held=True) if _refreshes(c, broker) else c for c in batch.puts)
        )


class RefreshForgetsRecipients(Planted):
    """A refreshed put forgets who has been served."""

    def batch(self, batch: WriteBatch, broker: Broker) -> WriteBatch:
        return replace(
            batch, puts=tuple(_forget(c, held=False) if _refreshes(c, broker) else c for c in batch.puts)
        )


class NoCaution(Planted):
    """After a fault mail goes out as if nothing had happened."""

    lanes_type = NoCautionLanes


class RefusalCounted(Planted):
    """That the relay refuses the sender counts as an attempt."""

    lanes_type = RefusalCountedLanes


class RefusedSenderTried(Planted):
    """Mail of a sender that the relay has just refused is tried all the same."""

    senders_type = ForgetfulSenders


class ManyProbes(Planted):
    """When a sender's hold is over, all of its mail is tried at once."""

    senders_type = ManyProbesSenders


class NoBound(Planted):
    """Mail starts however much is not yet durable."""

    lanes_type = NoBoundLanes


def _forget(copy: PutCopy, *, held: bool) -> PutCopy:
    return replace(copy, put=replace(copy.put, held=0) if held else replace(copy.put, remaining=None))


def _refreshes(copy: PutCopy, broker: Broker) -> bool:
    """Whether the journal says the same already."""
    return any(
        isinstance(entry, Put) and (entry.origin, entry.attempt) == (copy.put.origin, copy.put.attempt)
        for _, (_, entry, _), _ in broker.committed(broker.retry, 0, broker.retry.end)
    )


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
    ParkedForgotten,
    LedgerWithoutTopic,
    OrderWithoutTopic,
    NoFence,
    ReadToStableEnd,
    HoldInMemory,
    PartialInMemory,
    ReplayServesAll,
    HeldTicketSent,
    StaleDecision,
    CommandsIgnored,
    RefreshForgetsHold,
    RefreshForgetsRecipients,
    NoCaution,
    NoBound,
    RefusalCounted,
    RefusedSenderTried,
    ManyProbes,
)
