"""The limits of the configuration as terms of sharing."""

from datetime import UTC, date

import pytest

from postlane.core.limits.budgets import COUNT_MAX
from postlane.core.limits.warm_up import parse_warm_up
from postlane.core.sharing.relay_terms import WARM_UP, RelayLimits, terms_of
from postlane.core.sharing.terms import CONNECTIONS, BadTerms, Budget, Capacity, Ramp
from postlane.core.sharing.windows import CalendarDay, CalendarHour, Rolling
from unit.core.limits.parts import BERLIN, budget


def limits(*words: str, **more: object) -> RelayLimits:
    return RelayLimits(relay="r", connections=4, budgets=tuple(map(budget, words)), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "capacity"),
    [
        ("14 mails/s", Capacity("mails/second", 14, 1.0)),
        ("100 recipients/min", Capacity("recipients/minute", 100, 60.0)),
    ],
)
def test_rates_are_leased(words: str, capacity: Capacity) -> None:
    terms = terms_of(limits(words))
    assert terms.capacities == (Capacity(CONNECTIONS, 4), capacity)
    assert terms.budgets == ()


@pytest.mark.parametrize(
    ("words", "spent"),
    [
        ("50 mails/hour", Budget("mails/hour", 50, Rolling(3600.0))),
        ("2000 recipients/day", Budget("recipients/day", 2000, Rolling(86400.0))),
        (
            "9 mails/day calendar Europe/Berlin",
            Budget("mails/day calendar Europe/Berlin", 9, CalendarDay(BERLIN)),
        ),
        ("9 mails/hour calendar UTC", Budget("mails/hour calendar UTC", 9, CalendarHour(UTC))),
    ],
)
def test_hours_and_days_are_spent(words: str, spent: Budget) -> None:
    terms = terms_of(limits(words))
    assert terms.capacities == (Capacity(CONNECTIONS, 4),)
    assert terms.budgets == (spent,)


@pytest.mark.parametrize(("then", "limit"), [("unlimited", COUNT_MAX), ("700", 700)])
def test_a_ramp_is_one_more_daily_budget(then: str, limit: int) -> None:
    since = date(2026, 5, 1)
    terms = terms_of(limits(warm_up=parse_warm_up(f"50, 100, then {then}"), warm_up_since=since))
    assert terms.budgets == (Budget(WARM_UP, limit, CalendarDay(UTC), Ramp((50, 100), since)),)
    assert terms.budgets[0].least == 50


def test_holds_and_leases_are_those_of_the_configuration() -> None:
    terms = terms_of(limits(hold_seconds=7.0, hold_seconds_max=70.0, lease_seconds=60.0))
    assert (terms.hold_seconds, terms.hold_seconds_max) == (7.0, 70.0)
    assert (terms.lease_seconds, terms.attempt_seconds_max) == (60.0, 20.0)


def test_a_relay_without_limits_shares_its_connections() -> None:
    terms = terms_of(limits())
    assert (terms.relay, terms.capacities, terms.budgets) == ("r", (Capacity(CONNECTIONS, 4),), ())


def test_two_budgets_of_one_name_are_refused() -> None:
    with pytest.raises(BadTerms, match="two limits have the same name"):
        terms_of(limits("1 mails/day", "2 mails/day"))


@pytest.mark.parametrize(("period", "turn"), [(0.0, 60.0), (1.0, 60.0), (60.0, 120.0)])
def test_a_turn_at_a_rate_lasts_long_enough_to_use_it(period: float, turn: float) -> None:
    assert Capacity("x", 1, period).turn_seconds(60.0) == turn
