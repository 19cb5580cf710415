"""One relay under a random schedule, seeded: mails start and end, time goes on, people pause, processes die. See oracle for what must hold."""

import copy
import json
import random
from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from postlane.core.limits.budgets import parse_budget
from postlane.core.limits.circuit import CircuitPolicy, CircuitState, Refusal
from postlane.core.limits.governor import Governor, GovernorPolicy
from postlane.core.limits.permission import (
    Answered,
    Ending,
    Permission,
    Soon,
    Start,
    Ticket,
    TooLarge,
    TurnedAway,
    Unheard,
    Unsent,
    Wait,
)
from postlane.core.limits.warm_up import WarmUp
from sim.governor.oracle import Oracle
from sim.governor.planted import Planted
from sim.part import Violation

BEGINS = (
    datetime(2026, 3, 28, 20, tzinfo=UTC).timestamp(),  # the evening before Berlin's short day
    datetime(2026, 10, 24, 20, tzinfo=UTC).timestamp(),  # and before its long one
    datetime(2026, 5, 28, 12, tzinfo=UTC).timestamp(),
)
BUDGETS = (
    "{} mails/s",
    "{} recipients/s",
    "{} mails/min",
    "{} recipients/min",
    "{} mails/hour",
    "{} recipients/hour",
    "{} mails/day",
    "{} mails/hour calendar Asia/Kolkata",
    "{} recipients/day calendar Europe/Berlin",
)
RECIPIENTS_MAX = 5
CAUSES = ("quota", "rate", "connections", "connection")
CHECK_SHARE = 0.3  # of the waits that are named, so many are tried out on a copy
MOVES = ("start", "end", "time", "pause", "resume", "hasten", "restart")
WEIGHTS = (40, 30, 22, 1, 4, 1, 1)


class World:
    """`run` raises Violation; which schedule it is depends on the seed alone."""

    def __init__(self, seed: int, planted: Planted, steps: int) -> None:
        self.rnd = random.Random(seed)
        self.planted, self.steps = planted, steps
        self.now = self.rnd.choice(BEGINS) + self.rnd.random()
        words = self.rnd.sample(BUDGETS, self.rnd.randint(0, 3))
        self.budgets = tuple(
            parse_budget(line.format(self.rnd.randint(RECIPIENTS_MAX, 25)), ZoneInfo) for line in words
        )
        self.ramp = WarmUp((5, 9, 15), None) if self.rnd.random() < 0.2 else None
        self.policy = GovernorPolicy(
            connections=self.rnd.randint(1, 6),
            circuit=CircuitPolicy(hold_seconds=60.0, hold_seconds_max=3600.0),
        )
        self.traits = f"budgets {[str(one) for one in self.budgets]}, ramp {self.ramp}, {self.policy}"
        self.troubled = self.rnd.random() < 0.7
        self.governor = self._governor()
        self.oracle = Oracle(self.budgets, self.ramp)
        self.tickets: dict[int, Ticket] = {}
        self.named: float | None = None
        self.stats: Counter[str] = Counter()
        self.trace: list[str] = []

    def run(self) -> None:
        for _ in range(self.steps):
            (move,) = self.rnd.choices(MOVES, WEIGHTS)
            getattr(self, f"_{move}")()
        while self.tickets:
            self._end()
        self.oracle.check_budgets()

    def _governor(self) -> Governor:
        return self.planted.governor("main", self.policy, self.planted.limits(self.budgets, self.ramp))

    def _say(self, what: str) -> None:
        self.trace.append(f"{self.now:.3f} {what}")

    # Moves

    def _start(self) -> None:
        for _ in range(self.rnd.randint(1, 8)):
            recipients = self.rnd.choice([1, 1, 1, 2, RECIPIENTS_MAX])
            self.oracle.is_paused(self.now)
            permission = self.governor.may_start(recipients, self.now)
            if not isinstance(permission, Start):
                self._refused(permission, recipients)
                return
            ticket = self.governor.started(recipients, self.now)
            self.oracle.starts(ticket.number, recipients, self.now)
            self.tickets[ticket.number] = ticket
            self.stats["started"] += 1
            self._say(f"start {ticket.number} to {recipients}")
            if self.rnd.random() < 0.3:
                self.now += self.rnd.random() / 5

    def _refused(self, permission: Permission, recipients: int) -> None:
        self.stats[type(permission).__name__] += 1
        if self.oracle.must_start(recipients, self.now):
            raise Violation(f"WorkConserving: {permission} for {recipients} recipients")
        match permission:
            case Wait() | Soon():
                self.named = permission.until
                if permission.until is not None and self.rnd.random() < CHECK_SHARE:
                    self._check_named(permission.until, recipients)
            case TooLarge():
                raise Violation(f"WorkConserving: no mail here is larger than a budget, but {permission}")
            case _:
                pass

    def _check_named(self, until: float, recipients: int) -> None:
        """WaitIsNotEarly."""
        ghost = copy.deepcopy(self.governor)
        for ticket in self.tickets.values():
            ghost.ended(ticket, Unheard(), self.now)
        permission = ghost.may_start(recipients, until)
        if until < self.now or not isinstance(permission, Start):
            raise Violation(f"WaitIsNotEarly: {until - self.now:.6f} s were named, then {permission}")

    def _end(self) -> None:
        if not self.tickets:
            return
        number = self.rnd.choice(list(self.tickets))
        ticket, ending = self.tickets.pop(number), self._ending()
        era = self._count(number, ending)
        self.governor.ended(ticket, ending, self.now)
        self._say(f"end {number}: {ending}")
        match ending:
            case Answered():
                self.oracle.answered(era)
            case TurnedAway():
                self.oracle.throttled |= era == self.oracle.era
                self.oracle.turned_away(era, ending.refusal.wait_seconds, self.now)
            case _:
                pass

    def _ending(self) -> Ending:
        if not self.troubled or self.rnd.random() < 0.75:
            return Answered()
        if self.rnd.random() < 0.4:
            return Unheard() if self.rnd.random() < 0.5 else Unsent()
        wait = self.rnd.choice([None, None, 0.0, 2.0, 900.0])
        refusal = Refusal(
            cause=self.rnd.choice(CAUSES), reason="no", wait_seconds=wait, jitter=self.rnd.random()
        )
        return TurnedAway(refusal, counted=self.rnd.random() < 0.5)

    def _count(self, number: int, ending: Ending) -> int:
        started = self.oracle.flying[number][0]
        seen: float | None = self.rnd.choice([started, self.now, self.rnd.uniform(started, self.now)])
        if isinstance(ending, Unsent) or (isinstance(ending, TurnedAway) and not ending.counted):
            seen = None
        return self.oracle.comes_back(number, self.now, seen)

    def _time(self) -> None:
        """On by a little, by much, or to the very moment that was named."""
        if self.named is not None and self.named > self.now and self.rnd.random() < 0.6:
            self.now = self.named
        else:
            self.now += self.rnd.choice([0.05, 1.0, 20.0, 1200.0, 9 * 3600.0]) * self.rnd.random()
        self.named = None
        self._say("time goes on")

    def _pause(self) -> None:
        until = self.rnd.choice([None, self.now + 600 * self.rnd.random()])
        self.governor.pause("because", until, self.now)
        self.oracle.is_paused(self.now)
        self.oracle.pauses(until)
        self._say(f"pause until {until}")

    def _resume(self) -> None:
        self.oracle.is_paused(self.now)
        self.governor.may_start(1, self.now)  # as the loop does all the time: a pause that is over ends
        self.governor.resume()
        self.oracle.resumes()
        self._say("resume")

    def _hasten(self) -> None:
        """A person wants a held relay to be asked again."""
        self.governor.probe_now(self.now)
        self.oracle.hastens(self.now)
        self._say("probe now")

    def _restart(self) -> None:
        """The process dies; what was in flight may have arrived at any time up to now."""
        state = json.loads(json.dumps(self.governor.export()))
        before = copy.deepcopy(self.governor)
        for number, ticket in self.tickets.items():
            before.ended(ticket, Unheard(), self.now)
            self._count(number, Unheard())
        self.tickets.clear()
        self.governor = self._governor()
        self.governor.restore(state, self.now)
        # Pauses and the width are not the state's to keep: commands are read again, and a new process begins as it is configured.
        self.oracle.answers = None
        if self.oracle.paused:
            self.governor.pause("because", self.oracle.paused_until, self.now)
        self._check_round_trip(before)
        self._say("restart")

    def _check_round_trip(self, before: Governor) -> None:
        """StateRoundTrip."""
        for seconds in (0.0, 1.0, 60.0, 3600.0, 86400.0):
            at_us = round((self.now + seconds) * 1_000_000)
            for old, new in zip(before.limits, self.governor.limits, strict=True):
                units = self.rnd.randint(1, RECIPIENTS_MAX)
                then, now = old.earliest(units, at_us), new.earliest(units, at_us)
                if then != now:
                    raise Violation(f"StateRoundTrip: {new.key} allows {units} at {now} instead of {then}")
        if (before.circuit.trip, before.circuit.at(self.now)) != (
            self.governor.circuit.trip,
            self.governor.circuit.at(self.now),
        ):
            raise Violation(f"StateRoundTrip: the circuit was {before.circuit.trip}")
        if self.governor.circuit.state is CircuitState.OPEN and self.oracle.held_until is not None:
            raise Violation("StateRoundTrip: the hold is forgotten")
