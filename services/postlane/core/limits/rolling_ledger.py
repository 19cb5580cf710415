"""What was used of a rolling budget, in a bounded number of buckets that err on the safe side.

A bucket is 1/60 of the period wide and is forgotten as a whole, once the period has passed since its end. So never more than the
budget is used in any span of that length, and a unit comes back at most 1/60 of the period late: 1 s of a minute, 1 min of an hour,
24 min of a day. A clock that is set back only makes units come back later.
"""

from collections import deque

from postlane.core.limits.budgets import Budget, Period, Unit
from postlane.core.limits.limit import CAUSE_QUOTA, CAUSE_RATE, BadLimitState, Plain, count

BUCKETS = 60


class RollingLedger:
    """See core.limits.limit.Limit."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.cause = CAUSE_RATE if budget.period is Period.MINUTE else CAUSE_QUOTA
        self.told = budget.period in {Period.HOUR, Period.DAY}
        self._width_us = budget.period.us // BUCKETS
        self._buckets: deque[tuple[int, int]] = deque()  # number and units, in rising order of the numbers
        self._used = 0
        self._in_flight = 0

    @property
    def key(self) -> str:
        return self.budget.key

    @property
    def words(self) -> str:
        return str(self.budget)

    @property
    def unit(self) -> Unit:
        return self.budget.unit

    @property
    def most(self) -> int:
        return self.budget.count

    def describe(self, now_us: int) -> str:
        used = sum(used for number, used in self._buckets if self._free_at(number) > now_us)
        return f"{self.words}: {used + self._in_flight} used in the last {self.budget.period.value}"

    def earliest(self, units: int, now_us: int) -> int:
        missing = self._used + self._in_flight + units - self.budget.count
        at_us = now_us
        for number, used in self._buckets:
            if missing <= 0:
                break
            missing -= used
            at_us = max(now_us, self._free_at(number))
        return at_us if missing <= 0 else self._free_at(self._bucket_of(now_us))

    def reserve(self, units: int, now_us: int) -> None:
        self._forget(now_us)
        self._in_flight += units

    def settle(self, units: int, now_us: int) -> None:
        self._in_flight -= units
        self._use(units, now_us)
        self._forget(now_us)

    def give_back(self, units: int) -> None:
        self._in_flight -= units

    def through(self, units: int, now_us: int) -> int | None:
        if units <= 0:
            return now_us
        # Each unit of a later round takes the place of the one that stood there a round before.
        rounds, last = divmod(units - 1, self.budget.count)
        at_us = self.earliest(last + 1, now_us)
        if rounds:
            round_us = self.budget.period.us + self._width_us
            at_us = self._free_at(at_us // self._width_us) + (rounds - 1) * round_us
        return at_us

    def export(self) -> Plain:
        return {"in_flight": self._in_flight, "buckets": [[number, used] for number, used in self._buckets]}

    def restore(self, state: Plain, now_us: int) -> None:
        in_flight, buckets = count(state, "in_flight"), state.get("buckets")
        if not isinstance(buckets, list):
            raise BadLimitState(f"buckets is {buckets!r}, not a list")
        self._buckets.clear()
        self._used = self._in_flight = 0
        for number, used in sorted(_pair(bucket) for bucket in buckets):
            self._use(used, number * self._width_us)
        self._use(in_flight, now_us)
        self._forget(now_us)

    def _use(self, units: int, now_us: int) -> None:
        number = self._bucket_of(now_us)
        self._used += units
        if self._buckets and self._buckets[-1][0] == number:
            units += self._buckets.pop()[1]
        if units:
            self._buckets.append((number, units))

    def _bucket_of(self, now_us: int) -> int:
        number = now_us // self._width_us
        return max(number, self._buckets[-1][0]) if self._buckets else number

    def _free_at(self, number: int) -> int:
        return (number + 1) * self._width_us + self.budget.period.us

    def _forget(self, now_us: int) -> None:
        while self._buckets and self._free_at(self._buckets[0][0]) <= now_us:
            self._used -= self._buckets.popleft()[1]


def _pair(bucket: object) -> tuple[int, int]:
    match bucket:
        case [int(number), int(used)] if used > 0:
            return number, used
        case _:
            raise BadLimitState(f"{bucket!r} is not a bucket: its number and what was used in it")
