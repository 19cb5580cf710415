"""An alert is told once, then rarely, then over; whatever its condition does."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.alerts.catalogue import AlertName
from postlane.core.alerts.raising import Alerts, Clear, Condition, Effect, Pace, Raise, Remind, step

PACE = Pace(settle_seconds=300.0, repeat_seconds=3600.0)
T0 = 1_800_000_000.0


def held(
    since: float = T0, *, subject: str = "main", for_seconds: float = 900.0, reason: str = "r"
) -> Condition:
    return Condition(
        alert=AlertName.RELAY_HELD,
        subject=subject,
        since=since,
        cause="quota",
        reason=reason,
        for_seconds=for_seconds,
    )


def kinds(effects: list[Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def test_it_is_raised_once_its_time_is_over() -> None:
    alerts = Alerts(PACE)
    assert step(alerts, [held()], T0 + 899) == []
    assert step(alerts, [], T0 + 899.5) == []
    (raised,) = step(alerts, [held()], T0 + 900)
    assert isinstance(raised, Raise)
    assert raised.alert.raised_at == T0 + 900
    assert step(alerts, [held()], T0 + 905) == []
    assert [alert.condition.subject for alert in alerts.raised] == ["main"]


def test_what_began_before_us_is_raised_at_once() -> None:
    assert kinds(step(Alerts(PACE), [held()], T0 + 86400)) == ["Raise"]


def test_it_is_repeated_with_the_newest_words_and_the_first_time() -> None:
    alerts = Alerts(PACE)
    step(alerts, [held(for_seconds=0)], T0)
    assert step(alerts, [held(T0 + 3599, reason="new", for_seconds=0)], T0 + 3599) == []
    (again,) = step(alerts, [held(T0 + 3600, reason="new", for_seconds=0)], T0 + 3600)
    assert isinstance(again, Remind)
    assert (again.alert.condition.reason, again.alert.condition.since, again.alert.reminders) == (
        "new",
        T0,
        1,
    )


def test_it_is_over_after_a_calm() -> None:
    alerts = Alerts(PACE)
    step(alerts, [held()], T0 + 900)
    assert step(alerts, [], T0 + 1199) == []
    assert kinds(step(alerts, [], T0 + 1200)) == ["Clear"]
    assert alerts.raised == ()
    assert step(alerts, [], T0 + 2000) == []


def test_a_short_gap_is_no_end() -> None:
    alerts = Alerts(PACE)
    step(alerts, [held()], T0 + 900)
    step(alerts, [], T0 + 1199)
    assert step(alerts, [held(T0 + 1199, for_seconds=900)], T0 + 1199.5) == []
    assert step(alerts, [], T0 + 1499) == []
    assert kinds(step(alerts, [], T0 + 1500)) == ["Clear"]


def test_nobody_is_reminded_of_what_is_not_there() -> None:
    alerts = Alerts(Pace(settle_seconds=7200.0, repeat_seconds=3600.0))
    step(alerts, [held(for_seconds=0)], T0)
    assert step(alerts, [], T0 + 3600) == []
    assert kinds(step(alerts, [], T0 + 7200)) == ["Clear"]


def test_each_return_needs_a_calm_twice_as_long() -> None:
    alerts, now, lengths = Alerts(PACE), T0, []
    for _ in range(6):
        assert kinds(step(alerts, [held(now, for_seconds=0)], now)) == ["Raise"]
        started = now
        while not step(alerts, [], now):
            now += 10
        lengths.append(now - started)
        now += 10
    assert lengths == [300, 600, 1200, 2400, 3600, 3600]


def test_after_a_long_quiet_it_is_as_new() -> None:
    alerts = Alerts(PACE)
    step(alerts, [held(for_seconds=0)], T0)
    step(alerts, [], T0 + 300)
    step(alerts, [], T0 + 300 + 3600)
    step(alerts, [held(T0 + 4000, for_seconds=0)], T0 + 4000)
    assert kinds(step(alerts, [], T0 + 4300)) == ["Clear"]


def test_two_relays_have_two_alerts() -> None:
    alerts = Alerts(PACE)
    assert kinds(step(alerts, [held(), held(subject="other")], T0 + 900)) == ["Raise", "Raise"]
    assert kinds(step(alerts, [held()], T0 + 1300)) == ["Clear"]


@pytest.mark.parametrize("period", [1, 7, 60, 299, 301, 700, 1500])
def test_what_goes_on_and_off_for_a_day_is_told_of_a_few_times(period: int) -> None:
    alerts, told = Alerts(PACE), 0
    for second in range(0, 86400, 5):
        on = (second // period) % 2 == 0
        told += len(step(alerts, [held(T0 + second, for_seconds=0)] if on else [], T0 + second))
    assert (
        told <= 24 + 3 * 6
    )  # a reminder an hour, and what it takes until the calm is longer than the period


LOOKS = st.lists(
    st.tuples(
        st.floats(0.5, 4000),
        st.sets(
            st.sampled_from([(name, subject) for name in AlertName for subject in ("", "a", "b")]), max_size=4
        ),
        st.floats(0, 2000),
    ),
    max_size=120,
)


@given(looks=LOOKS, settle=st.floats(0, 2000), repeat=st.floats(60, 10_000))
def test_raise_and_clear_alternate_and_reminders_are_rare(
    looks: list[tuple[float, set[tuple[AlertName, str]], float]], settle: float, repeat: float
) -> None:
    alerts, now = Alerts(Pace(settle_seconds=settle, repeat_seconds=repeat)), T0
    told: defaultdict[tuple[AlertName, str], list[tuple[Effect, float]]] = defaultdict(list)
    for passed, keys, for_seconds in looks:
        now += passed
        observed = [
            Condition(
                alert=name, subject=subject, since=now - 1000, cause="c", reason="r", for_seconds=for_seconds
            )
            for name, subject in sorted(keys)
        ]
        for effect in step(alerts, observed, now):
            assert isinstance(effect, Clear) is (effect.alert.condition.key not in keys)
            told[effect.alert.condition.key].append((effect, now))
    for key, effects in told.items():
        stands, last_told = False, None
        for effect, at in effects:
            if isinstance(effect, Raise):
                assert not stands, f"{key} was raised twice"
                stands, last_told = True, at
            else:
                assert stands, f"{key}: {effect} of what does not stand"
            if isinstance(effect, Remind):
                assert last_told is not None
                assert at - last_told >= repeat
                last_told = at
            if isinstance(effect, Clear):
                stands = False
    standing = {alert.condition.key for alert in alerts.raised}
    assert standing == {key for key, effects in told.items() if not isinstance(effects[-1][0], Clear)}
