"""A shared relay's budgets as the limits of its governor."""

from collections.abc import Callable, Iterator
from datetime import UTC

from postlane.core.limits.budgets import Budget as Words
from postlane.core.limits.limit import Limit
from postlane.core.limits.local_limits import local_limits
from postlane.core.limits.warm_up import warm_up_ledger
from postlane.core.sharing.leased_limits import LeasedRate, SharedLedger, UnitsInHand
from postlane.core.sharing.onlooker import Onlooker
from postlane.core.sharing.relay_terms import RATES, RelayLimits
from postlane.core.sharing.terms import Budget, Terms
from postlane.core.sharing.used_budget import fill_ledger
from postlane.ports import Clock

MICRO = 1_000_000
HowMuch = Callable[[str], int]
"""Of a capacity or budget, by its name."""


class SharedBudgets:
    """What counts a mail's units, and what they are counted in; `onlooker` knows what all senders have used, `clock` the brokers' time."""

    def __init__(self, relay: RelayLimits, terms: Terms, onlooker: Onlooker, clock: Clock) -> None:
        self._relay = relay
        self._terms = terms
        self._onlooker = onlooker
        self._clock = clock
        self._words: dict[str, Words] = {words.key: words for words in relay.budgets}
        self._filled: dict[str, tuple[int, int, Limit]] = {}
        self._in_hand: dict[str, UnitsInHand] = {}

    def limits(self, amount: HowMuch, in_hand: HowMuch) -> tuple[Limit, ...]:
        """For the governor; `amount` says what is leased of a rate, `in_hand` how many units of a budget can be spent."""
        rates = [words for words in self._relay.budgets if words.period in RATES]
        return (
            *(LeasedRate(words, _of(amount, words.key)) for words in rates),
            *(limit for budget in self._terms.budgets for limit in self._spent(budget, in_hand)),
        )

    def costs(self, recipients: int) -> dict[str, int]:
        """What a mail to so many recipients takes of each budget; a ramp counts mails."""
        words = self._words
        return {
            budget.name: words[budget.name].unit.of(recipients) if budget.name in words else 1
            for budget in self._terms.budgets
        }

    def parcel_max(self, budget: Budget) -> int:
        """How many units one sender may have in hand today."""
        limit = budget.limit_in(budget.window.span(self._clock()))
        return budget.parcel_max(self._terms.lease_seconds, limit)

    def left(self, budget: Budget) -> int:
        """How many units today nobody has been granted, as far as is known here."""
        now = self._clock()
        span = budget.window.span(now)
        return budget.limit_in(span) - self._onlooker.books.used(budget, span, now)

    def starved(self, budget: str) -> bool:
        """Whether a mail has had to wait for units since this was last asked."""
        limit = self._in_hand[budget]
        starved, limit.starved = limit.starved, False
        return starved

    def used(self, budget: Budget, now_us: int) -> Limit:
        """The budget's ledger as all senders have filled it; made anew when something was heard, and each second.

        What others have in hand comes back within moments if they do not need it: no reason to tell people of a used-up budget.
        """
        version, second = self._onlooker.version, now_us // MICRO
        kept = self._filled.get(budget.name)
        if kept is not None and kept[:2] == (version, second):
            return kept[2]
        used = self._onlooker.spent(budget.name)
        ledger = fill_ledger(self._ledger(budget), budget, used, self._terms, now_us)
        self._filled[budget.name] = version, second, ledger
        return ledger

    def _spent(self, budget: Budget, in_hand: HowMuch) -> Iterator[Limit]:
        def used(now_us: int) -> Limit:
            return self.used(budget, now_us)

        def most() -> int:
            return self.parcel_max(budget)

        name, hand = self._ledger(budget), _of(in_hand, budget.name)
        yield self._in_hand.setdefault(budget.name, UnitsInHand(name, hand, most))
        yield SharedLedger(used, hand, name)

    def _ledger(self, budget: Budget) -> Limit:
        """An empty one."""
        words = self._words.get(budget.name)
        if words is None:
            assert self._relay.warm_up is not None, f"{budget.name} is neither a budget nor the ramp"
            return warm_up_ledger(self._relay.warm_up, self._relay.warm_up_since, UTC)
        (ledger,) = local_limits([words])
        return ledger


def _of(how_much: HowMuch, name: str) -> Callable[[], int]:
    return lambda: how_much(name)
