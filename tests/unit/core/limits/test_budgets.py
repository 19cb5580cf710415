"""Budgets as people write them."""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.limits.budgets import BadBudget, Budget, Period, Unit, parse_budget, parse_budgets
from unit.core.limits.parts import BERLIN, budget


@pytest.mark.parametrize(
    ("words", "count", "unit", "period", "zone"),
    [
        ("2000 mails/day", 2000, Unit.MAILS, Period.DAY, None),
        ("500 recipients/hour", 500, Unit.RECIPIENTS, Period.HOUR, None),
        ("14 mails/s", 14, Unit.MAILS, Period.SECOND, None),
        ("30 mails / min", 30, Unit.MAILS, Period.MINUTE, None),
        ("1 Mail/Day rolling", 1, Unit.MAILS, Period.DAY, None),
        ("10000 recipients/day calendar Europe/Berlin", 10000, Unit.RECIPIENTS, Period.DAY, BERLIN),
        (" 7 mails/h  calendar UTC ", 7, Unit.MAILS, Period.HOUR, UTC),
    ],
)
def test_words_are_read(words: str, count: int, unit: Unit, period: Period, zone: tzinfo | None) -> None:
    assert budget(words) == Budget(count=count, unit=unit, period=period, zone=zone)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("", "a budget is a count"),
        ("2000", "a budget is a count"),
        ("2000 mails", "a budget is a count"),
        ("2000/day", "a budget is a count"),
        ("many mails/day", "'many' is not a whole number"),
        ("0 mails/day", "'0' is not a whole number from 1"),
        ("-5 mails/day", "'-5' is not a whole number"),
        ("1.5 mails/s", "'1.5' is not a whole number"),
        ("10000000000 mails/day", "is not a whole number from 1 to 1000000000"),
        ("2,000 mails/day", "'2,000' is not a whole number"),
        ("٣ mails/day", "is not a whole number"),
        ("20 letters/day", "'letters' is not what is counted"),
        ("20 mails/week", "'week' is not a period"),
        ("20 mails/day weekly", "'weekly' is neither"),
        ("20 mails/day calendar", "needs the time zone"),
        ("20 mails/min calendar UTC", "not for a minute"),
        ("20 mails/day calendar Europe/Berlim", "'Europe/Berlim' is not known"),
        ("20 mails/day calendar ../../etc/passwd", "is not known"),
        ("20 mails/day calendar Europe/Berlin please", "is neither"),
    ],
)
def test_a_fault_is_named_with_an_example(words: str, fault: str) -> None:
    with pytest.raises(BadBudget) as caught:
        budget(words)
    assert fault in str(caught.value)
    assert repr(words) in str(caught.value)
    assert "`2000 mails/day`" in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(words: str) -> None:
    try:
        read = budget(words)
    except BadBudget:
        return
    assert budget(str(read)) == read


@given(
    st.builds(Budget, count=st.integers(1, 10**9), unit=st.sampled_from(Unit), period=st.sampled_from(Period))
)
def test_what_a_budget_says_of_itself_can_be_read_again(rolling: Budget) -> None:
    assert budget(str(rolling)) == rolling


def test_a_changed_count_is_the_same_counter_and_another_zone_is_not() -> None:
    assert budget("5 mails/day").key == budget("9 mails/day").key
    keys = {budget(f"5 mails/day{rest}").key for rest in ("", " calendar UTC", " calendar Europe/Berlin")}
    assert len(keys) == 3


def test_two_budgets_for_the_same_are_refused() -> None:
    with pytest.raises(BadBudget, match="count the same"):
        parse_budgets(["5 mails/day", "9 mails/d"], ZoneInfo)
    assert len(parse_budgets(["5 mails/day", "9 recipients/day", "5 mails/day calendar UTC"], ZoneInfo)) == 3


def test_a_fault_of_the_time_zones_is_not_taken_for_bad_words() -> None:
    def broken(name: str) -> tzinfo:
        raise OSError(name)

    with pytest.raises(OSError, match="Mars"):
        parse_budget("5 mails/day calendar Mars", broken)
