"""A seeded world: producers, operators, an owner and its zombies, and a main topic that has accidents."""

import random
from collections import Counter

from sim.lanes.broker import Broker
from sim.lanes.hooks import Planted
from sim.lanes.limits import CAUTION_SECONDS, small_limits, traits_of
from sim.lanes.operators import Operators
from sim.lanes.records import EPOCH_SECONDS, new_record
from sim.lanes.sender import Sender, Site
from sim.lanes.witness import Witness
from sim.part import Violation

DRAIN_STEPS_MAX = 12_000
DENIED_SHARE = 0.1


class World:
    """One schedule; everything random comes from the seed."""

    def __init__(self, seed: int, planted: Planted, steps: int) -> None:
        self.rnd = random.Random(seed)
        self.steps = steps
        self.traits = traits_of(self.rnd)
        self.broker = Broker()
        self.trace: list[str] = []
        self.stats: Counter[str] = Counter()
        self.witness = Witness(self.broker, self.trace, self.stats)
        denied_share = DENIED_SHARE if seed // 3 % 2 else 0.0  # of each length of schedule, every other one
        self.site = Site(self.broker, self.witness, self.traits.policy, planted, denied_share)
        self.operators = Operators(self.broker, self.witness, self.rnd, self.traits.tickets)
        self.zombies: list[Sender] = []
        self.owner = self._new_owner(0.0)

    def run(self) -> None:
        """Play the schedule, then let everything end in calm. Raises Violation."""
        with small_limits():
            for number in range(self.steps):
                now = EPOCH_SECONDS + number
                self._disturb(now)
                self._move(now, calm=False)
            for number in range(self.steps, self.steps + DRAIN_STEPS_MAX):
                now = EPOCH_SECONDS + number
                if self.rnd.random() < 0.1:
                    self.operators.calm_down()
                self._move(now, calm=True)
                if self.owner.idle and not self.zombies and not self.operators.busy:
                    break
            else:
                raise Violation(f"NothingLost: stuck with {self._unfinished()}")
        self.witness.check_end()
        self.stats["mails"] += sum(len(records) for records in self.witness.deliveries.tickets.values())
        self.stats += self.operators.stats

    def _move(self, now: float, *, calm: bool) -> None:
        self.owner.act(self.rnd, now, calm=calm)
        if self.broker.markers and self.rnd.random() < (0.9 if calm else self.traits.marker_share):
            self.broker.write_marker(self.rnd)
        self._move_zombies(now)
        if self.owner.dead:
            self._replace_owner(now, works_on=False)

    def _disturb(self, now: float) -> None:
        traits, dice = self.traits, self.rnd.random
        if dice() < 0.25 and not self.witness.truncation_unseen:
            self._produce(now)
        if dice() < traits.operator_share and not self.witness.truncation_unseen:
            self.operators.meddle()
        if dice() < traits.crash_share:
            self._replace_owner(now, works_on=dice() < 0.5)
        if dice() < 0.005:
            self.owner.leaving = True
            self.trace.append(f"  sender{self.owner.number} is to give the partition back")
        if dice() < traits.recreate_share:
            self._recreate_topic(now)
        if dice() < traits.lost_pointers_share:
            self._lose_pointers(now)
        if dice() < traits.low_share:
            self._delete_old(now)
        if dice() < traits.truncate_share:
            self._truncate(now)

    # Producers

    def _produce(self, now: float) -> None:
        rnd = self.rnd
        ticket = rnd.randrange(self.traits.tickets)
        records = self.witness.deliveries.tickets[ticket]
        event_id = rnd.choice(records).event_id if records and rnd.random() < 0.05 else None
        record = new_record(
            ticket,
            len(records),
            event_id=event_id,
            not_before=now + rnd.choice([1, 4, 30]) if rnd.random() < 0.05 else None,
            expires_at=now + rnd.choice([10, 60]) if rnd.random() < 0.05 else None,
            poison=rnd.random() < 0.02,
        )
        self.witness.produced(record, self.broker.produce(record))

    # Owners and zombies

    def _replace_owner(self, now: float, *, works_on: bool) -> None:
        old = self.owner
        if works_on and not old.dead and old.running is not None:
            old.life = self.rnd.choice([10, 40])
            old.hears = self.rnd.random() < 0.5
        else:
            old.dead = True
        if not old.dead or old.transaction is not None:
            self.zombies.append(old)
        self.trace.append(f"  sender{old.number} {'is over' if old.dead else 'works on as a zombie'}")
        self.owner = self._new_owner(now + CAUTION_SECONDS if self.rnd.random() < 0.2 else 0.0)

    def _new_owner(self, cautious_until: float) -> Sender:
        self.stats["owners"] += 1
        self.witness.owner += 1
        return Sender(self.site, self.witness.owner, cautious_until)

    def _move_zombies(self, now: float) -> None:
        for zombie in self.zombies:
            if not zombie.dead and self.rnd.random() < 0.5:
                zombie.act(self.rnd, now, calm=False)
            zombie.life -= 1
            if zombie.life < 0:
                zombie.dead = True
            if zombie.life < -25 and zombie.transaction is not None:  # the coordinator's transaction timeout
                self.broker.decide(zombie.transaction.number, commit=False)
        self.zombies = [
            z
            for z in self.zombies
            if not (z.dead and (z.transaction is None or z.transaction.number in self.broker.decided))
        ]

    # Accidents of the main topic

    def _recreate_topic(self, now: float) -> None:
        self.witness.recreated()
        self.broker.recreate_main(forget_commit=self.rnd.random() < 0.5)
        self.trace.append(f"main topic recreated as {self.broker.topic_id}")
        self._replace_owner(now, works_on=self.rnd.random() < 0.5)

    def _lose_pointers(self, now: float) -> None:
        """The group expired, or somebody has set its offset by hand.

        Not after the topic has lost its end: then nothing tells the old statuses of an offset from those of its new record.
        """
        if self.witness.reused:
            return
        by_hand = self.rnd.randrange(len(self.broker.main) + 1), self.rnd.choice(["", "by hand"])
        self.broker.commit = None if self.rnd.random() < 0.5 else by_hand
        self.trace.append(f"the group's offset is now {self.broker.commit}")
        self._replace_owner(now, works_on=False)

    def _delete_old(self, now: float) -> None:
        """Retention deletes records that nobody has read."""
        low = self.rnd.randint(self.broker.main_low, len(self.broker.main))
        self.witness.lost(range(self.broker.main_low, low))
        self.broker.main_low = low
        self.trace.append(f"main now begins at {low}")
        self._replace_owner(now, works_on=False)

    def _truncate(self, now: float) -> None:
        """The main partition has lost its end, as after an unclean election; what is parked was below it."""
        if self.zombies or self.owner.transaction is not None:
            return
        main, here = self.broker.main, self.broker.topic_id
        parked = [origin.offset + 1 for origin in self.witness.live if origin.topic_id == here]
        end = self.rnd.randint(max([self.broker.main_low, *parked]), len(main))
        self.witness.truncated(len(main), end)
        del main[end:]
        self.trace.append(f"main now ends at {end}")
        self._replace_owner(now, works_on=False)

    def _unfinished(self) -> list[str]:
        lanes = self.owner.running
        return (
            ["nobody has taken over"]
            if lanes is None
            else [
                f"{m.origin} due {m.due - EPOCH_SECONDS:.0f} parked {m.parked} held {m.held}"
                for m in list(lanes.mails.values())[:4]
            ]
        )
