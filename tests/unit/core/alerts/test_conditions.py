"""Which observations are worth an alert, and which one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.alerts.catalogue import AlertName
from postlane.core.alerts.conditions import (
    CIRCUIT_CAUSES,
    CLOCK_SKEW_SECONDS_MAX,
    LOGIN_CAUSES,
    SUSTAINS_SECONDS,
    HourCount,
    LastHour,
    RelaySeen,
    Seen,
    Thresholds,
    conditions,
)
from postlane.core.alerts.raising import Alerts, Condition, Pace, step
from postlane.core.causes import known_causes
from postlane.core.limits.permission import Hold

T0 = 1_800_000_000.0
LIMITS = Thresholds(
    held_seconds=900,
    circuit_seconds=60,
    backlog_seconds=1800,
    dlq_mails_per_hour=20,
    distrusted_mails_per_hour=10,
)


def of_hold(cause: str, until: float | None = T0 + 60, reason: str = "550 no") -> Seen:
    hold = Hold(relay="main", cause=cause, reason=reason, since=T0 - 30, until=until)
    return Seen(relays=(RelaySeen(relay="main", hold=hold),))


def raising(seen: Seen) -> list[Condition]:
    """Those that can raise an alert."""
    found = conditions(seen, LastHour(), LIMITS, T0)
    return [condition for condition in found if condition.for_seconds < SUSTAINS_SECONDS]


def test_all_well() -> None:
    assert conditions(Seen(relays=(RelaySeen(relay="main"),)), LastHour(), LIMITS, T0) == ()
    at_the_limit = Seen(oldest_ready_seconds=1800, dead_letters=999)
    assert conditions(at_the_limit, LastHour(dead_letters=20), LIMITS, T0) == ()


@pytest.mark.parametrize(
    ("cause", "alert", "for_seconds"),
    [
        ("quota", AlertName.RELAY_HELD, 900),
        ("paused", AlertName.RELAY_HELD, 900),
        ("a cause of somebody's own rule", AlertName.RELAY_HELD, 900),
        ("auth_unavailable", AlertName.RELAY_HELD, 900),
        ("auth", AlertName.RELAY_LOGIN_BROKEN, 0),
        ("connection", AlertName.RELAY_CIRCUIT_OPEN, 60),
        ("too_many_dead", AlertName.RELAY_CIRCUIT_OPEN, 60),
    ],
)
def test_a_hold_raises_one_alert_by_its_cause(cause: str, alert: AlertName, for_seconds: float) -> None:
    (condition,) = raising(of_hold(cause))
    assert (condition.alert, condition.for_seconds) == (alert, for_seconds)
    assert (condition.subject, condition.cause, condition.since) == ("main", cause, T0 - 30)
    assert "550 no" in condition.reason


def test_the_words_say_until_when() -> None:
    (timed,) = conditions(of_hold("quota", until=T0), LastHour(), LIMITS, T0)
    (endless,) = conditions(of_hold("paused", until=None), LastHour(), LIMITS, T0)
    assert timed.reason.endswith("tried again about 2027-01-15T08:00:00Z")
    assert endless.reason.endswith("until a person resumes it")


def test_a_relays_words_are_one_bounded_line() -> None:
    (condition,) = conditions(
        of_hold("quota", reason="a\r\nBcc: x\x1b[31m" + "b" * 10_000), LastHour(), LIMITS, T0
    )
    assert condition.reason.isprintable()
    assert len(condition.reason) < 600


def test_a_broken_grant_is_told_before_a_mail_meets_it() -> None:
    relay = RelaySeen(relay="main", login_trouble="the token endpoint refuses the grant")
    (condition,) = conditions(Seen(relays=(relay,)), LastHour(), LIMITS, T0)
    assert (condition.alert, condition.cause) == (AlertName.RELAY_LOGIN_BROKEN, "auth")
    assert condition.reason == "the token endpoint refuses the grant"


def test_broken_twice_is_one_alert() -> None:
    (seen,) = of_hold("auth").relays
    relay = RelaySeen(relay="main", hold=seen.hold, login_trouble="the grant is dead", grant_days_left=3.2)
    found = raising(Seen(relays=(relay,)))
    assert [condition.alert for condition in found] == [
        AlertName.RELAY_LOGIN_BROKEN,
        AlertName.RELAY_GRANT_ENDS,
    ]
    assert found[1].reason == "3 days are left"


def paused(beneath: str) -> Seen:
    """A person has paused a relay that is held for another cause."""
    (relay,) = of_hold("paused").relays
    (broken,) = of_hold(beneath).relays
    return Seen(relays=(RelaySeen(relay="main", hold=relay.hold, beneath=broken.hold),))


@pytest.mark.parametrize(
    ("cause", "alert"),
    [("connection", AlertName.RELAY_CIRCUIT_OPEN), ("auth", AlertName.RELAY_LOGIN_BROKEN)],
)
def test_a_broken_relay_that_is_paused_is_still_broken(cause: str, alert: AlertName) -> None:
    assert {condition.alert: condition.cause for condition in raising(paused(cause))} == {
        AlertName.RELAY_HELD: "paused",
        alert: cause,
    }


def test_a_long_wait_is_not_over_because_the_relay_breaks() -> None:
    alerts = Alerts(Pace(settle_seconds=60, repeat_seconds=3600))
    moments = ((of_hold("quota"), T0), (of_hold("connection"), T0 + 1000), (of_hold("connection"), T0 + 2000))
    told = [
        (type(effect).__name__, effect.alert.condition.alert)
        for seen, now in moments
        for effect in step(alerts, conditions(seen, LastHour(), replace(LIMITS, held_seconds=0), now), now)
    ]
    assert told == [("Raise", AlertName.RELAY_HELD), ("Raise", AlertName.RELAY_CIRCUIT_OPEN)]
    assert {alert.condition.alert for alert in alerts.raised} == {alert for _, alert in told}


def test_a_backlog_and_dead_letters() -> None:
    backlog, dead = sorted(
        conditions(Seen(oldest_ready_seconds=3600), LastHour(dead_letters=21), LIMITS, T0),
        key=lambda condition: condition.alert,
    )
    assert (backlog.alert, backlog.since) == (AlertName.BACKLOG_OLD, T0 - 3600)
    assert (dead.alert, dead.subject) == (AlertName.DEAD_LETTERS_GROW, "")
    assert "21 mails" in dead.reason


@pytest.mark.parametrize(
    ("skew_seconds", "words"), [(7200.0, "2:00:00 (h:mm:ss) ahead of"), (-30.4, "0:00:30 (h:mm:ss) behind")]
)
def test_a_wrong_clock_is_named_with_its_skew(skew_seconds: float, words: str) -> None:
    (condition,) = conditions(Seen(clock_skew_seconds=skew_seconds), LastHour(), LIMITS, T0)
    assert (condition.alert, condition.cause) == (AlertName.CLOCK_OFF, "clock_skew")
    assert words in condition.reason
    assert conditions(Seen(clock_skew_seconds=CLOCK_SKEW_SECONDS_MAX), LastHour(), LIMITS, T0) == ()


def test_a_relay_that_distrusts_us() -> None:
    relay = RelaySeen(relay="main", distrusted=500, distrust="spam: 550 5.7.1 Looks like\r\nspam (final)")
    seen = Seen(relays=(relay, RelaySeen(relay="other", distrusted=500)))
    few, many = LastHour(distrusted={"main": 10}), LastHour(distrusted={"main": 11, "other": 1})
    assert conditions(seen, few, LIMITS, T0) == ()
    (condition,) = conditions(seen, many, LIMITS, T0)
    assert (condition.alert, condition.subject) == (AlertName.RELAY_DISTRUSTED, "main")
    assert "11 mails within an hour" in condition.reason
    assert condition.reason.endswith("last: spam: 550 5.7.1 Looks like spam (final)")


def test_the_causes_are_known_ones() -> None:
    assert known_causes(load_classifier()) >= CIRCUIT_CAUSES | LOGIN_CAUSES
    assert not CIRCUIT_CAUSES & LOGIN_CAUSES


def test_dead_letters_of_an_hour() -> None:
    count = HourCount()
    assert count.within_hour(3, T0) == 3, "the process began with none"
    assert count.within_hour(10, T0 + 1800) == 10
    assert count.within_hour(10, T0 + 3600) == 10
    assert count.within_hour(10, T0 + 5400 + 60) == 0
    assert count.within_hour(11, T0 + 5500) == 1


@given(st.lists(st.tuples(st.floats(1, 1200), st.integers(0, 5)), min_size=1, max_size=200))
def test_the_hours_count_is_exact_to_a_minute(steps: list[tuple[float, int]]) -> None:
    count, now, total = HourCount(), T0, 0
    deaths: list[float] = []
    for passed, dead in steps:
        now += passed
        total += dead
        deaths += [now] * dead
        found = count.within_hour(total, now)
        gap = max((passed for passed, _ in steps), default=0.0) + 60  # between two looks nothing is known
        assert sum(at > now - 3600 for at in deaths) <= found <= sum(at >= now - 3600 - gap for at in deaths)
