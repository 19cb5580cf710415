"""A new owner in the simulation takes over step by step; other things happen between the steps."""

import random

from postlane.core.sending.lanes import Lanes, LanesPolicy
from postlane.core.sending.recovery import Found, JournalFold, StatusFold, conclude, plan_recovery
from postlane.core.sending.scribe import Scribe
from sim.lanes.broker import Broker, Command
from sim.lanes.hooks import Planted


class TakeOver:
    """Fence, look at the bounds, read; `lanes` and `wishes` are set when it is over."""

    def __init__(self, broker: Broker, policy: LanesPolicy, number: int, planted: Planted) -> None:
        self.broker, self.policy, self.number, self.planted = broker, policy, number, planted
        self.stage = "init"
        self.topic_number = broker.topic_number
        self.ends = (0, 0)
        self.lanes: Lanes | None = None
        self.wishes: list[Command] = []
        self.heard = 0

    def step(self, rnd: random.Random, now: float, cautious_until: float) -> None:
        """Do the next thing, if it can be done."""
        match self.stage:
            case "init":
                if self.planted.init_transactions(self.broker, self.number):
                    self.stage = "bounds"
            case "bounds":
                self._look()
                self.stage = "read"
            case "read":
                if self.planted.readable(self.broker, self.ends):
                    self._read(now, cautious_until)
                    self.stage = "control"
            case "control":
                self.heard = len(self.broker.control)
                self.wishes = self.planted.wishes(self.broker.commands(0, rnd))
                self.stage = "over"

    def _look(self) -> None:
        broker = self.broker
        self.topic_number = broker.topic_number
        self.plan = plan_recovery(
            Found(
                commit=broker.commit,
                topic_id=broker.topic_id,
                main_low=broker.main_low,
                main_end=len(broker.main),
                status_low=0,
                retry_low=0,
            )
        )
        self.ends = self.planted.ends(broker)

    def _read(self, now: float, cautious_until: float) -> None:
        broker, (status_end, retry_end) = self.broker, self.ends
        topic_id = f"topic{self.topic_number}"
        window_from = now - self.policy.duplicate_window_seconds
        statuses = StatusFold(topic_id, window_from)
        start = min(self.plan.status_from, first_since(broker, window_from))
        for offset, keyed, _ in broker.committed(broker.status, start, status_end):
            statuses.add(offset, self.planted.status(keyed.status, topic_id))
        journal = JournalFold()
        for offset, (key, entry, _), at in broker.committed(broker.retry, self.plan.retry_from, retry_end):
            journal.add(offset, key, entry, at)
        recovered = conclude(self.plan, journal, statuses, (status_end, retry_end), topic_id)
        scribe = Scribe(topic="main", topic_id=topic_id, partition=0, instance=f"sender{self.number}")
        self.lanes = self.planted.lanes_type(
            self.policy, scribe, self.planted.recovered(recovered), now, cautious_until
        )


def first_since(broker: Broker, since: float) -> int:
    """The first status that was written at or after that time, as Kafka finds it."""
    entries = broker.status.entries
    return next(
        (i for i, (number, _, at) in enumerate(entries) if number is not None and at >= since), len(entries)
    )
