"""A shared relay's budgets before its governor: rates on lease, units in hand, what all senders have used."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.limits.budgets import Budget, Unit
from postlane.core.limits.limit import Limit
from postlane.core.limits.local_limits import local_limits
from postlane.core.limits.microseconds import MICRO
from postlane.core.sharing.leased_limits import AGAIN_US, LeasedRate, SharedLedger, UnitsInHand
from postlane.core.sharing.rate_slices import Slice, slice_of
from unit.core.limits.parts import NOW_US, budget

STEPS = 100  # in a period


def start_all(rate: LeasedRate, now_us: int) -> int:
    """Start mails until one must wait; how many there were."""
    started = 0
    while rate.earliest(1, now_us) <= now_us:
        rate.reserve(1, now_us)
        rate.settle(1, now_us)
        started += 1
    return started


def most_in_a_period(starts: Iterable[int], period_us: int) -> int:
    within: deque[int] = deque()
    most = 0
    for start in starts:
        within.append(start)
        while within[0] <= start - period_us:
            within.popleft()
        most = max(most, len(within))
    return most


def play(words: str, shares_by_step: Sequence[Sequence[int]]) -> tuple[list[int], Budget]:
    """All send as much as they may; every so often they have other shares. When their mails started."""
    shared = budget(words)
    shares = [0] * len(shares_by_step[0])

    def granted(sender: int) -> Callable[[], int]:
        return lambda: shares[sender]

    rates = [LeasedRate(shared, granted(sender)) for sender in range(len(shares))]
    starts: list[int] = []
    now_us = NOW_US
    for shares[:] in shares_by_step:
        for _ in range(STEPS // 3):
            now_us += shared.period.us // STEPS
            for rate in rates:
                starts += [now_us] * start_all(rate, now_us)
    return starts, shared


@st.composite
def splits(draw: st.DrawFn, count: int, senders: int) -> list[int]:
    left, shares = count, []
    for _ in range(senders):
        shares.append(draw(st.sampled_from([0, left, left // 2, min(1, left)])))
        left -= shares[-1]
    return draw(st.permutations(shares))


@given(data=st.data(), senders=st.integers(1, 4))
@pytest.mark.parametrize(
    "words", ["14 mails/s", "2 mails/s", "60 mails/min", "20 mails/min", "5 mails/min", "1 mails/min"]
)
def test_however_shares_move_all_senders_together_keep_to_the_rate(
    words: str, data: st.DataObject, senders: int
) -> None:
    count = budget(words).count
    shares = data.draw(st.lists(splits(count, senders), min_size=1, max_size=12))
    starts, shared = play(words, shares)
    assert most_in_a_period(starts, shared.period.us) <= shared.count


@pytest.mark.parametrize("words", ["10 mails/s", "60 mails/min", "1 mails/min"])
def test_a_lone_sender_has_the_whole_rate(words: str) -> None:
    starts, shared = play(words, [[budget(words).count]] * 12)
    assert len(starts) >= shared.count * 3 * 0.7


def test_a_burst_of_one_sender_does_not_meet_the_start_of_another() -> None:
    starts, shared = play("20 mails/min", [[20, 0], [1, 19], [20, 0], [20, 0], [0, 20]])
    assert most_in_a_period(starts, shared.period.us) <= shared.count


def test_without_a_share_nothing_starts() -> None:
    rate = LeasedRate(budget("60 mails/min"), lambda: 0)
    assert rate.earliest(1, NOW_US) == NOW_US + AGAIN_US
    rate.reserve(1, NOW_US)
    rate.settle(1, NOW_US)
    rate.reserve(1, NOW_US)
    rate.give_back(1)


def test_after_a_rest_a_tenth_goes_at_once() -> None:
    rate = LeasedRate(budget("60 mails/min"), lambda: 60)
    rate.earliest(1, NOW_US)
    later = NOW_US + 60 * MICRO
    assert rate.earliest(1, later - 1) > later - 1, "somebody else may have used the share within the minute"
    assert rate.earliest(1, later) == later
    later += 60 * MICRO
    assert start_all(rate, later) == 6


def test_a_large_budget_per_minute_is_leased_in_short_spans() -> None:
    assert slice_of(budget("6000 mails/min")) == Slice(100, 1_000_000, 60)
    assert slice_of(budget("1999 mails/min")) == Slice(105, 3_157_895, 19)
    assert slice_of(budget("99 mails/min")) == Slice(99, 60_000_000, 1)
    assert slice_of(budget("5000 mails/s")) == Slice(5000, 1_000_000, 1)
    rate = LeasedRate(budget("6000 mails/min"), lambda: 50)
    assert rate.describe(NOW_US) == "6000 mails/minute, of which 3000 are this sender's"
    rate.earliest(1, NOW_US)
    assert rate.earliest(1, NOW_US + MICRO) == NOW_US + MICRO


@given(st.integers(1, 10**6))
def test_slices_keep_to_the_budget_and_use_nearly_all_of_it(count: int) -> None:
    part = slice_of(budget(f"{count} mails/min"))
    assert part.period_us * part.in_period >= 60 * MICRO
    assert 0.99 * count <= part.count * part.in_period <= count


def test_a_mail_costs_at_most_the_own_share() -> None:
    shares = [30]
    rate = LeasedRate(budget("60 recipients/min"), lambda: shares[0])
    assert rate.most == 1, "nothing is known yet"
    rate.earliest(1, NOW_US)
    assert rate.most == 30
    shares[0] = 0
    rate.earliest(1, NOW_US)
    assert rate.most == 1
    assert (rate.key, rate.words, rate.unit) == (
        "recipients/minute rate",
        "60 recipients/minute",
        Unit.RECIPIENTS,
    )


def test_a_larger_share_than_the_budget_is_none() -> None:
    rate = LeasedRate(budget("2 mails/s"), lambda: 1000)
    assert rate.describe(NOW_US) == "2 mails/second, of which 2 are this sender's"
    rate.settle(1, NOW_US)
    rate.give_back(1)


def test_a_rate_tells_when_a_backlog_is_through_as_if_it_were_whole() -> None:
    rate = LeasedRate(budget("60 mails/min"), lambda: 1)
    end = rate.through(61, NOW_US)
    assert end is not None
    assert (end - NOW_US) / MICRO == pytest.approx(55.0)


def test_nothing_is_exported_because_the_topic_remembers() -> None:
    rate = LeasedRate(budget("60 mails/min"), lambda: 60)
    assert rate.export() == {}
    rate.restore({"version": 7}, NOW_US)
    assert rate.most == 1


def ledger(words: str, used: int = 0) -> Limit:
    (limit,) = local_limits([budget(words)])
    limit.reserve(used, NOW_US)
    limit.settle(used, NOW_US)
    return limit


def test_units_in_hand_start_at_once_and_others_are_waited_for_without_a_word() -> None:
    hand = UnitsInHand(ledger("100 mails/day"), lambda: 5, lambda: 20)
    assert hand.earliest(5, NOW_US) == NOW_US
    assert not hand.starved
    assert hand.earliest(6, NOW_US) == NOW_US + AGAIN_US
    assert hand.starved
    assert not hand.told
    assert (hand.key, hand.most, hand.unit) == ("mails/day in hand", 20, Unit.MAILS)
    assert hand.describe(NOW_US) == "100 mails/day: 5 in this sender's hand"
    assert hand.through(1000, NOW_US) == NOW_US


@pytest.mark.parametrize(("in_hand", "used", "waits"), [(1, 100, False), (0, 50, False), (0, 100, True)])
def test_people_hear_only_of_what_all_senders_have_used_up(in_hand: int, used: int, waits: bool) -> None:
    words = "100 mails/day"
    shared = SharedLedger(lambda _now_us: ledger(words, used), lambda: in_hand, ledger(words))
    assert (shared.earliest(1, NOW_US) > NOW_US) is waits
    assert shared.told
    assert shared.describe(NOW_US) == f"100 mails/day: {used} used in the last day by all senders"
    end = shared.through(10, NOW_US)
    assert end is not None
    assert (end > NOW_US) is (used == 100)
    assert (shared.key, shared.words, shared.unit) == ("mails/day", words, Unit.MAILS)
    assert (shared.most, shared.cause) == (100, "quota")


def test_who_has_a_share_anew_says_when_it_is_of_use() -> None:
    shares = [0]
    rate = LeasedRate(budget("3 mails/minute"), lambda: shares[0])
    assert rate.earliest(1, NOW_US) == NOW_US + AGAIN_US, "nobody knows when a share comes"
    shares[0] = 3
    assert rate.earliest(1, NOW_US) == NOW_US + 60 * MICRO
    assert rate.earliest(1, NOW_US + 20 * MICRO) == NOW_US + 60 * MICRO
    assert "of which 3 are this sender's once those of its last holder no longer count" in rate.describe(
        NOW_US
    )
    assert rate.earliest(1, NOW_US + 60 * MICRO) == NOW_US + 60 * MICRO
