"""What was used of a budget that begins anew with each calendar hour or day, exactly.

What is in flight counts against the window that now is; when it comes back, against the one in which it does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, tzinfo

from postlane.core.limits.budgets import Budget, Period, Unit
from postlane.core.limits.calendar_windows import Window, window_at
from postlane.core.limits.limit import CAUSE_QUOTA, BadLimitState, Plain, count

WINDOWS_MAX = 3660  # ten years of days: nobody plans further ahead, and looking there takes time


@dataclass(frozen=True, slots=True)
class Caps:
    """What each window may use: `steps` from the first day on, a day each, then always `then` (None = no limit)."""

    then: int | None
    steps: Sequence[int] = ()
    first_day: date = date.min

    def on(self, day: date) -> int | None:
        """The cap of this day; days before the first count as the first."""
        index = max(0, (day - self.first_day).days)
        return self.steps[index] if index < len(self.steps) else self.then


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """Whose hours or days are counted, in what unit, and how a wait for the next one is called."""

    key: str
    unit: Unit
    period: Period
    zone: tzinfo
    cause: str = CAUSE_QUOTA
    words: str


class CalendarLedger:
    """See core.limits.limit.Limit."""

    told = True

    def __init__(self, calendar: Calendar, caps: Caps) -> None:
        self.calendar = calendar
        self._caps = caps
        self._window = Window(0, date.min)
        self._used = 0
        self._in_flight = 0

    @property
    def key(self) -> str:
        return self.calendar.key

    @property
    def words(self) -> str:
        return self.calendar.words

    @property
    def unit(self) -> Unit:
        return self.calendar.unit

    @property
    def cause(self) -> str:
        return self.calendar.cause

    @property
    def most(self) -> int:
        return min(cap for cap in (*self._caps.steps, self._caps.then) if cap is not None)

    def describe(self, now_us: int) -> str:
        window, used = self._at(now_us)
        cap = self._caps.on(window.day)
        of = "" if cap is None else f" of {cap}"
        return f"{self.words}: {used + self._in_flight}{of} used in this {self.calendar.period.value}"

    def earliest(self, units: int, now_us: int) -> int:
        window, used = self._at(now_us)
        cap = self._caps.on(window.day)
        return now_us if cap is None or used + self._in_flight + units <= cap else window.end_us

    def reserve(self, units: int, now_us: int) -> None:
        self._window, self._used = self._at(now_us)
        self._in_flight += units

    def settle(self, units: int, now_us: int) -> None:
        self._window, self._used = self._at(now_us)
        self._in_flight -= units
        self._used += units

    def give_back(self, units: int) -> None:
        self._in_flight -= units

    def through(self, units: int, now_us: int) -> int | None:
        window, used = self._at(now_us)
        used += self._in_flight
        begin_us = now_us
        for _ in range(WINDOWS_MAX):
            cap = self._caps.on(window.day)
            if cap is None or units <= cap - used:
                return begin_us
            units -= max(0, cap - used)
            used, begin_us = 0, window.end_us
            window = window_at(begin_us, self.calendar.period, self.calendar.zone)
        return None

    def export(self) -> Plain:
        return {"in_flight": self._in_flight, "used": self._used, "end_us": self._window.end_us}

    def restore(self, state: Plain, now_us: int) -> None:
        in_flight, used, end_us = count(state, "in_flight"), count(state, "used"), count(state, "end_us")
        try:
            day = window_at(end_us - 1, self.calendar.period, self.calendar.zone).day
        except OverflowError:
            raise BadLimitState(f"end_us is {end_us}, which is no time of this world") from None
        self._window, self._used, self._in_flight = Window(end_us, day), used, 0
        self._window, self._used = self._at(now_us)
        self._used += in_flight

    def _at(self, now_us: int) -> tuple[Window, int]:
        """The window of this moment and what is used of it; a clock that is set back stays in the later one."""
        if now_us < self._window.end_us:
            return self._window, self._used
        return window_at(now_us, self.calendar.period, self.calendar.zone), 0


def calendar_ledger(budget: Budget, zone: tzinfo) -> CalendarLedger:
    """The ledger of a calendar budget."""
    calendar = Calendar(key=budget.key, unit=budget.unit, period=budget.period, zone=zone, words=str(budget))
    return CalendarLedger(calendar, Caps(budget.count))
