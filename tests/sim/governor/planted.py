"""Bugs planted in the governor's parts, one class each; the simulation must catch every one of them."""

from collections.abc import Sequence
from datetime import UTC

from postlane.core.limits.budgets import Budget, Period
from postlane.core.limits.calendar_ledger import CalendarLedger, calendar_ledger
from postlane.core.limits.circuit import Circuit, CircuitState, Refusal
from postlane.core.limits.governor import Governor, GovernorPolicy
from postlane.core.limits.limit import Limit, Plain
from postlane.core.limits.local_limits import local_limits
from postlane.core.limits.pace import Pace
from postlane.core.limits.permission import Ticket
from postlane.core.limits.rate import Rate
from postlane.core.limits.rolling_ledger import RollingLedger
from postlane.core.limits.warm_up import WarmUp, warm_up_ledger
from sim.governor.oracle import SINCE


class Planted:
    """No bug."""

    def governor(self, relay: str, policy: GovernorPolicy, limits: Sequence[Limit]) -> Governor:
        return Governor(relay, policy, limits)

    def limits(self, budgets: Sequence[Budget], ramp: WarmUp | None) -> tuple[Limit, ...]:
        kept = tuple(self.limit(limit) for limit in local_limits(budgets))
        return kept if ramp is None else (*kept, warm_up_ledger(ramp, SINCE, UTC))

    def limit(self, limit: Limit) -> Limit:
        """The same, with a bug."""
        return limit


class _Ledger(Planted):
    ledger: type[RollingLedger]

    def limit(self, limit: Limit) -> Limit:
        return self.ledger(limit.budget) if isinstance(limit, RollingLedger) else limit


class BucketsForgottenAtTheirBegin(_Ledger):
    """A bucket's units come back a period after its first one instead of its last."""

    class ledger(RollingLedger):  # noqa: N801
        def _free_at(self, number: int) -> int:
            return number * self._width_us + self.budget.period.us


class CountedAtStart(_Ledger):
    """A mail counts from its start on, however long it takes to arrive."""

    class ledger(RollingLedger):  # noqa: N801
        def reserve(self, units: int, now_us: int) -> None:
            self._use(units, now_us)

        def settle(self, units: int, now_us: int) -> None:
            pass

        def give_back(self, units: int) -> None:
            pass


class CountedAtEnd(_Ledger):
    """What is in flight does not count yet."""

    class ledger(RollingLedger):  # noqa: N801
        def reserve(self, units: int, now_us: int) -> None:
            pass

        def settle(self, units: int, now_us: int) -> None:
            self._use(units, now_us)

        def give_back(self, units: int) -> None:
            pass


class NamesTheBucketsBegin(_Ledger):
    """The time that is named is a bucket's width too early."""

    class ledger(RollingLedger):  # noqa: N801
        def earliest(self, units: int, now_us: int) -> int:
            at_us = super().earliest(units, now_us)
            return at_us if at_us == now_us else max(now_us + 1, at_us - self._width_us)


class RestartForgetsFlight(_Ledger):
    """What was in flight when the process died is not counted."""

    class ledger(RollingLedger):  # noqa: N801
        def export(self) -> Plain:
            return super().export() | {"in_flight": 0}


class NothingComesBack(_Ledger):
    """What did not leave the process stays reserved for ever."""

    class ledger(RollingLedger):  # noqa: N801
        def give_back(self, units: int) -> None:
            pass


class DaysOfUtc(Planted):
    """A calendar day ends at midnight in Greenwich."""

    def limit(self, limit: Limit) -> Limit:
        return calendar_ledger(_budget_of(limit), UTC) if isinstance(limit, CalendarLedger) else limit


class MidnightForgetsFlight(Planted):
    """What ends after midnight counts for the day in which it started."""

    class Forgetful(CalendarLedger):
        def settle(self, units: int, now_us: int) -> None:
            if now_us >= self._window.end_us:
                self._in_flight -= units
            else:
                super().settle(units, now_us)

    def limit(self, limit: Limit) -> Limit:
        if isinstance(limit, CalendarLedger):
            return self.Forgetful(limit.calendar, limit._caps)
        return limit


class BurstOnTop(Planted):
    """A burst comes on top of the full rate."""

    def limits(self, budgets: Sequence[Budget], ramp: WarmUp | None) -> tuple[Limit, ...]:
        seconds = [budget for budget in budgets if budget.period is Period.SECOND]
        others = [budget for budget in budgets if budget.period is not Period.SECOND]
        on_top = (Rate(budget, 4, budget.period.us // budget.count) for budget in seconds)
        return (*super().limits(others, ramp), *on_top)


class _Governor(Planted):
    type_: type[Governor] = Governor
    circuit: type[Circuit] = Circuit
    pace: type[Pace] = Pace

    def governor(self, relay: str, policy: GovernorPolicy, limits: Sequence[Limit]) -> Governor:
        governor = self.type_(relay, policy, limits)
        governor.circuit = self.circuit(policy.circuit)
        governor.pace = self.pace(policy.connections)
        return governor


class ManyProbes(_Governor):
    """After its time a held relay is open, as if nothing had been."""

    class type_(Governor):  # noqa: N801
        def _width(self, now: float) -> int:
            self.circuit.at(now)
            return self.pace.width + 1 if self.circuit.trip is not None else self.pace.width


class WaveAtRelease(_Governor):
    """After a hold all connections are used at once."""

    class pace(Pace):  # noqa: N801
        def held(self) -> None:
            pass


class LateAnswerOpens(_Governor):
    """An answer to a mail from before the hold ends it."""

    class circuit(Circuit):  # noqa: N801
        def answered(self, round_: int) -> bool:
            del round_
            if self.state is CircuitState.HELD:
                self.state, self.trip = CircuitState.OPEN, None
                return True
            return super().answered(self.round)


class NamedWaitIgnored(_Governor):
    """The relay says when to come back, and we come when we like."""

    class circuit(Circuit):  # noqa: N801
        def _wait(self, refusal: Refusal) -> float:
            del refusal
            return self._policy.hold_seconds


class HasteOpens(_Governor):
    """A person who wants the relay to be asked again lets all its mail go at once."""

    class circuit(Circuit):  # noqa: N801
        def hasten(self, now: float) -> bool:
            del now
            self.state, self.trip = CircuitState.OPEN, None
            return True


class AnswerEndsPause(_Governor):
    """The answer to a mail that was in flight ends a person's pause."""

    class type_(Governor):  # noqa: N801
        def _answered(self, ticket: Ticket, now: float, *, current: bool) -> None:
            self._pause = None
            super()._answered(ticket, now, current=current)


class ProbeForgotten(_Governor):
    """A process that dies while it probes leaves an open relay behind."""

    class circuit(Circuit):  # noqa: N801
        def export(self) -> Plain | None:
            return None if self.state is CircuitState.PROBING else super().export()


class NeverWidens(_Governor):
    """After a hold the width stays nothing."""

    class pace(Pace):  # noqa: N801
        @property
        def width(self) -> int:
            return 0 if self._width == 1.0 < self.connections else super().width


def _budget_of(limit: CalendarLedger) -> Budget:
    cap = limit._caps.then
    assert cap is not None
    calendar = limit.calendar
    return Budget(count=cap, unit=calendar.unit, period=calendar.period, zone=calendar.zone)


PLANTED: tuple[type[Planted], ...] = (
    BucketsForgottenAtTheirBegin,
    CountedAtStart,
    CountedAtEnd,
    NamesTheBucketsBegin,
    RestartForgetsFlight,
    NothingComesBack,
    DaysOfUtc,
    MidnightForgetsFlight,
    BurstOnTop,
    ManyProbes,
    WaveAtRelease,
    LateAnswerOpens,
    NamedWaitIgnored,
    HasteOpens,
    AnswerEndsPause,
    ProbeForgotten,
    NeverWidens,
)
