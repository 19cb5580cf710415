"""A relay's budgets where several senders share it: rates by what the lease allows, hours and days by the units in hand.

Each is a core.limits.limit.Limit. What is used, mail.relays knows; nothing of it is kept here.
"""

from collections.abc import Callable
from dataclasses import replace

from postlane.core.limits.budgets import Budget, Period, Unit
from postlane.core.limits.limit import CAUSE_QUOTA, CAUSE_RATE, Limit, Plain
from postlane.core.limits.microseconds import MICRO
from postlane.core.limits.rate import Rate, smooth_rate, strict_rate
from postlane.core.limits.rolling_ledger import RollingLedger

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
    """So many units in each second or minute as `granted` says now, evenly: what all senders start together stays within the budget."""

    cause = CAUSE_RATE
    told = False

    def __init__(self, budget: Budget, granted: Callable[[], int]) -> None:
        super().__init__(smooth_rate(budget))
        self.budget = budget
        self._granted = granted
        self._count = 0
        self._rate: Rate | None = None
        self._ledger = RollingLedger(budget) if budget.period is Period.MINUTE else None

    @property
    def most(self) -> int:
        return max(1, self._count)

    def describe(self, now_us: int) -> str:
        self._follow(now_us)
        return f"{self.words}, of which {self._count} are this sender's"

    def earliest(self, units: int, now_us: int) -> int:
        self._follow(now_us)
        if self._rate is None:
            return now_us + AGAIN_US
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
        """Take up the share that is leased now.

        One that is had anew begins with an interval's wait, and a larger one without a burst: somebody else may just have used it.
        """
        count = min(self._granted(), self.budget.count)
        if count == self._count:
            return
        self._count = count
        before = self._rate
        if count <= 0:
            self._rate = None
            return
        budget = replace(self.budget, count=count)
        if self._ledger is not None:
            self._ledger.budget = budget
        # Strict for a minute, too: our ledger does not see what another sender did with this share a moment ago.
        self._rate = strict_rate(budget)
        if before is None:
            self._rate.reserve(self._rate.burst, now_us)
        else:
            self._rate.reserve(self._rate.burst - 1, max(now_us, before.earliest(before.burst, now_us)))


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
