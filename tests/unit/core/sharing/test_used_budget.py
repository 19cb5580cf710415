"""The ledger that people see against the books that allocators keep."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.limits.budgets import Unit, parse_budget
from postlane.core.limits.limit import Limit
from postlane.core.limits.local_limits import local_limits
from postlane.core.limits.microseconds import to_us
from postlane.core.limits.warm_up import parse_warm_up, warm_up_ledger
from postlane.core.sharing.books import Books
from postlane.core.sharing.relay_terms import RelayLimits, terms_of
from postlane.core.sharing.terms import Budget, Terms
from postlane.core.sharing.used_budget import fill_ledger
from postlane.core.sharing.windows import Span
from unit.core.limits.parts import NOW, NOW_US

TODAY = datetime.fromtimestamp(NOW, UTC).date()
WORDS = (
    "1000 mails/hour",
    "1000 mails/day",
    "1000 mails/day calendar Europe/Berlin",
    "1000 mails/hour calendar UTC",
)


def shared(words: str) -> tuple[Terms, Budget, Limit]:
    one = parse_budget(words, ZoneInfo)
    terms = terms_of(RelayLimits(relay="r", connections=1, budgets=(one,)))
    (ledger,) = local_limits([one])
    return terms, terms.budgets[0], ledger


@pytest.mark.parametrize("words", WORDS)
@given(ages=st.dictionaries(st.floats(0, 2 * 86400), st.integers(-3, 100), max_size=20))
def test_what_the_books_count_the_ledger_counts(words: str, ages: dict[float, int]) -> None:
    terms, budget, ledger = shared(words)
    used: dict[Span, int] = {}
    for age, units in ages.items():
        span = budget.window.span(NOW - age)
        used[span] = max(0, used.get(span, 0) + units)
    books = Books(terms)
    books.tallies = {(budget.name, span): units for span, units in used.items()}
    counted = books.used(budget, budget.window.span(NOW), NOW)
    filled = fill_ledger(ledger, budget, used, terms, NOW_US)
    free = 1000 - counted
    assert filled.earliest(min(1000, free + 1), NOW_US) > NOW_US or free >= 1000
    if not budget.window.reach_seconds:
        assert filled.earliest(max(0, free), NOW_US) == NOW_US


@pytest.mark.parametrize("words", WORDS[:2])
def test_units_of_a_rolling_window_come_back_when_the_allocator_grants_them_again_or_soon_after(
    words: str,
) -> None:
    terms, budget, ledger = shared(words)
    span = budget.window.span(NOW)
    filled = fill_ledger(ledger, budget, {span: 1000}, terms, NOW_US)
    granted_again = to_us(span.ends + budget.window.reach_seconds + terms.free_seconds)
    late = to_us(budget.window.length_seconds / 60)
    assert granted_again <= filled.earliest(1, NOW_US) <= granted_again + 2 * late


def test_another_days_units_do_not_count_today() -> None:
    terms, budget, ledger = shared("10 mails/day calendar Europe/Berlin")
    yesterday = budget.window.span(NOW - 86400)
    assert fill_ledger(ledger, budget, {yesterday: 10}, terms, NOW_US).earliest(10, NOW_US) == NOW_US


def test_more_returned_than_granted_is_nothing_used() -> None:
    terms, budget, ledger = shared("10 mails/day calendar UTC")
    filled = fill_ledger(ledger, budget, {budget.window.span(NOW): -4}, terms, NOW_US)
    assert filled.earliest(10, NOW_US) == NOW_US


def test_a_ramp_counts_its_days() -> None:
    ramp = parse_warm_up("5, then 9")
    terms = terms_of(RelayLimits(relay="r", connections=1, warm_up=ramp, warm_up_since=TODAY))
    (budget,) = terms.budgets
    ledger = warm_up_ledger(ramp, TODAY, UTC)
    used = {budget.window.span(NOW): 5}
    filled = fill_ledger(ledger, budget, used, terms, NOW_US)
    assert filled.unit is Unit.MAILS
    assert filled.earliest(1, NOW_US) == to_us(budget.window.span(NOW).ends)
