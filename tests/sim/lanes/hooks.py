"""Where bugs can be planted: what the simulation does around the real core, as it ought to be done."""

from postlane.core.events.status import MailStatus
from postlane.core.limits.held_senders import HeldSenders
from postlane.core.sending.lane_mail import CommitBatch, Recovered, WriteBatch
from postlane.core.sending.lanes import Lanes
from sim.lanes.broker import Broker, Command


class Planted:
    """No bug; subclasses in sim.lanes.planted plant one each."""

    lanes_type: type[Lanes] = Lanes
    senders_type: type[HeldSenders] = HeldSenders

    # Taking over

    def init_transactions(self, broker: Broker, number: int) -> bool:
        """Become the only owner; False as long as it takes."""
        return broker.init_transactions(number)

    def ends(self, broker: Broker) -> tuple[int, int]:
        """Up to where the statuses and the journal are read."""
        return broker.status.end, broker.retry.end

    def readable(self, broker: Broker, ends: tuple[int, int]) -> bool:
        """Whether a read_committed reader gets so far."""
        return broker.status.stable_end >= ends[0] and broker.retry.stable_end >= ends[1]

    def status(self, status: MailStatus, topic_id: str) -> MailStatus:
        """Change what a status says."""
        del topic_id
        return status

    def recovered(self, recovered: Recovered) -> Recovered:
        """Change what a new owner believes."""
        return recovered

    def wishes(self, commands: list[Command]) -> list[Command]:
        """Change what a new owner hears of operators."""
        return commands

    # Running

    def remaining(self, remaining: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Change whom a replay serves."""
        return remaining

    def batch(self, batch: WriteBatch, broker: Broker) -> WriteBatch:
        """Change what is written."""
        del broker
        return batch

    def commit(self, commit: CommitBatch, broker: Broker) -> CommitBatch:
        """Change what is committed."""
        del broker
        return commit

    def fenced(self, broker: Broker, transaction: int) -> bool:
        """Whether the broker refuses to go on with the transaction."""
        return broker.fenced(transaction)
