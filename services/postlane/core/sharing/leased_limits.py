"""A relay's budgets where several senders share it: rates by what the lease allows, hours and days by the units in hand.

Each is a core.limits.limit.Limit. What is used, mail.relays knows; nothing of it is kept here.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from postlane.core.limits.budgets import Budget, Period, Unit
from postlane.core.limits.limit import CAUSE_QUOTA, CAUSE_RATE, Limit, Plain
from postlane.core.limits.microseconds import MICRO
from postlane.core.limits.rate import Rate, smooth_rate, strict_rate_in
from postlane.core.limits.rolling_ledger import RollingLedger
from postlane.core.sharing.rate_slices import slice_of

_LONG_AGO_US = -(2**62)
SOON_US = 5 * MICRO  # nobody asks about shorter waits
AGAIN_US = MICRO // 5  # how soon a mail asks anew that waits for a grant: about as long as one takes


class _KeptElsewhere:
    """Named as another limit is. Allocator and purse keep count, so there is nothing to enter here, and mail.relays is the memory."""

    def __init__(self, name: Limit) -> None:
        self._name = name

    @property
    def key(self) -> str:
        return self._name.key

    @property
    def words(self) -> str:
        return self._name.words

    @property
    def unit(self) -> Unit:
        return self._name.unit

    def reserve(self, units: int, now_us: int) -> None:
        """See the class."""

    def settle(self, units: int, now_us: int) -> None:
        """See the class."""

    def give_back(self, units: int) -> None:
        """See the class."""

    def export(self) -> Plain:
        """See the class."""
        return {}

    def restore(self, state: Plain, now_us: int) -> None:
        """See the class."""


class LeasedRate(_KeptElsewhere):
    """So many units in each span of the budget as `granted` says now, evenly: what all senders start together stays within it."""

    cause = CAUSE_RATE
    told = False

    def __init__(self, budget: Budget, granted: Callable[[], int]) -> None:
        super().__init__(smooth_rate(budget))
        self.budget = budget
        self._slice = slice_of(budget)
        self._granted = granted
        self._shares: deque[tuple[int, int]] = deque([(_LONG_AGO_US, 0)])  # from when on how much was leased
        self._count = 0
        self._rate: Rate | None = None
        self._ledger = RollingLedger(budget) if budget.period is Period.MINUTE else None

    @property
    def most(self) -> int:
        return max(1, self._count or self._shares[-1][1])

    def describe(self, now_us: int) -> str:
        self._follow(now_us)
        own = f"{self.words}, of which {self._shares[-1][1] * self._slice.in_period} are this sender's"
        is_soon = self._usable_us() <= now_us + SOON_US
        return own if is_soon else f"{own} once those of its last holder no longer count"

    def earliest(self, units: int, now_us: int) -> int:
        self._follow(now_us)
        if self._rate is None:
            return max(now_us + AGAIN_US, self._usable_us())
        at_us = self._rate.earliest(units, now_us)
        if self._ledger is not None:
            at_us = max(at_us, self._ledger.earliest(units, now_us))
        return at_us

    def reserve(self, units: int, now_us: int) -> None:
        if self._rate is not None:
            self._rate.reserve(units, now_us)
        if self._ledger is not None:
            self._ledger.reserve(units, now_us)

    def settle(self, units: int, now_us: int) -> None:
        if self._ledger is not None:
            self._ledger.settle(units, now_us)

    def give_back(self, units: int) -> None:
        if self._ledger is not None:
            self._ledger.give_back(units)

    def through(self, units: int, now_us: int) -> int | None:
        return self._name.through(units, now_us)

    def _follow(self, now_us: int) -> None:
        """Take up the share that is leased now: less of it at once, more of it only when it was ours for a whole span.

        Until then somebody else's mails may still count there. So nobody starts more in any span than was his at its beginning.
        """
        count = self._share(now_us)
        if count == self._count:
            return
        since_us = self._shares[0][0] + self._slice.period_us if count > self._count else now_us
        before, self._count, self._rate = self._rate, count, None
        if count <= 0:
            return
        if self._ledger is not None:
            self._ledger.budget = replace(self.budget, count=count * self._slice.in_period)
        self._rate = strict_rate_in(replace(self.budget, count=count), self._slice.period_us)
        due_us = since_us if before is None else max(since_us, before.earliest(before.burst, since_us))
        self._rate.reserve(self._rate.burst - 1, due_us)

    def _usable_us(self) -> int:
        """When what is leased now was ours for a whole span: until then its last holder's mails may still count."""
        had_none = [at for (_, before), (at, _) in pairwise(self._shares) if before == 0]
        return had_none[-1] + self._slice.period_us if had_none and self._shares[-1][1] else _LONG_AGO_US

    def _share(self, now_us: int) -> int:
        """The least that was leased to us at any time within the last span."""
        granted = min(self._granted(), self._slice.count)
        if granted != self._shares[-1][1]:
            self._shares.append((now_us, granted))
        while len(self._shares) > 1 and self._shares[1][0] <= now_us - self._slice.period_us:
            self._shares.popleft()
        return min(share for _, share in self._shares)


class UnitsInHand(_KeptElsewhere):
    """Mails wait, unnoticed, until a grant has brought the units; `in_hand` says how many there are now."""

    cause = CAUSE_QUOTA
    told = False

    def __init__(self, ledger: Limit, in_hand: Callable[[], int], most: Callable[[], int]) -> None:
        super().__init__(ledger)
        self.starved = False  # a mail had to wait since this was last set to False
        self._in_hand = in_hand
        self._most = most

    @property
    def key(self) -> str:
        return f"{super().key} in hand"

    @property
    def most(self) -> int:
        return self._most()

    def describe(self, now_us: int) -> str:
        del now_us
        return f"{self.words}: {self._in_hand()} in this sender's hand"

    def earliest(self, units: int, now_us: int) -> int:
        if self._in_hand() >= units:
            return now_us
        self.starved = True
        return now_us + AGAIN_US

    def through(self, units: int, now_us: int) -> int | None:
        del units
        return now_us


class SharedLedger(_KeptElsewhere):
    """People hear when a budget is used up by all senders together; `ledger` makes one of what mail.relays says at that time."""

    told = True

    def __init__(self, ledger: Callable[[int], Limit], in_hand: Callable[[], int], name: Limit) -> None:
        super().__init__(name)
        self._ledger = ledger
        self._in_hand = in_hand

    @property
    def cause(self) -> str:
        return self._name.cause

    @property
    def most(self) -> int:
        return self._name.most

    def describe(self, now_us: int) -> str:
        return f"{self._ledger(now_us).describe(now_us)} by all senders"

    def earliest(self, units: int, now_us: int) -> int:
        return now_us if self._in_hand() >= units else self._ledger(now_us).earliest(units, now_us)

    def through(self, units: int, now_us: int) -> int | None:
        return self._ledger(now_us).through(units, now_us)
