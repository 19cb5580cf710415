"""A relay's limits as the configuration says them, as the terms under which its senders share them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date

from postlane.core.limits import budgets as limits
from postlane.core.limits.budgets import COUNT_MAX, Period
from postlane.core.limits.warm_up import WarmUp
from postlane.core.sharing.rate_slices import slice_of
from postlane.core.sharing.terms import CONNECTIONS, Budget, Capacity, Ramp, Terms
from postlane.core.sharing.windows import CalendarDay, CalendarHour, Rolling, Window

WARM_UP = "warm_up"
RATES = frozenset({Period.SECOND, Period.MINUTE})
"""Too short to be spent in units: what is leased is the right to so many in each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLimits:
    """What the senders of one relay may do all together. `lease_seconds` is how long one that has died keeps what it had."""

    relay: str
    connections: int
    budgets: tuple[limits.Budget, ...] = ()
    warm_up: WarmUp | None = None
    warm_up_since: date = date.min
    hold_seconds: float = 300.0
    hold_seconds_max: float = 3600.0
    lease_seconds: float = 120.0


def terms_of(relay: RelayLimits) -> Terms:
    """Connections and rates are leased, hours and days are spent. Every sender must come to the same terms."""
    spent = [budget for budget in relay.budgets if budget.period not in RATES]
    return Terms(
        relay=relay.relay,
        capacities=(Capacity(CONNECTIONS, relay.connections), *_rates(relay.budgets)),
        budgets=(*(Budget(one.key, one.count, _window(one)) for one in spent), *_ramp(relay)),
        lease_seconds=relay.lease_seconds,
        attempt_seconds_max=relay.lease_seconds / 3,
        hold_seconds=relay.hold_seconds,
        hold_seconds_max=relay.hold_seconds_max,
    )


def _rates(budgets: Iterable[limits.Budget]) -> Iterable[Capacity]:
    slices = ((one.key, slice_of(one)) for one in budgets if one.period in RATES)
    return (Capacity(key, part.count, part.period_us / 1e6) for key, part in slices)


def _window(budget: limits.Budget) -> Window:
    if budget.zone is None:
        return Rolling(budget.period.us / 1e6)
    return CalendarDay(budget.zone) if budget.period is Period.DAY else CalendarHour(budget.zone)


def _ramp(relay: RelayLimits) -> Iterable[Budget]:
    if relay.warm_up is not None:
        then = COUNT_MAX if relay.warm_up.then is None else relay.warm_up.then
        yield Budget(WARM_UP, then, CalendarDay(UTC), Ramp(relay.warm_up.steps, relay.warm_up_since))
