"""The governor of one relay: who objects first, what people hear, what survives."""

import json
from datetime import date

import pytest

from postlane.core.limits.governor import CALM_SECONDS, Governor
from postlane.core.limits.limit import BadLimitState
from postlane.core.limits.permission import (
    Answered,
    Busy,
    Ending,
    Never,
    Soon,
    Start,
    Ticket,
    TooLarge,
    TurnedAway,
    Unheard,
    Unsent,
    Wait,
)
from postlane.core.limits.warm_up import parse_warm_up, warm_up_ledger
from unit.core.limits.parts import BERLIN, NOW, governor, refusal

HOUR = 3600.0
DAY = 86400.0


def start(relay: Governor, now: float = NOW, recipients: int = 1) -> Ticket:
    assert isinstance(relay.may_start(recipients, now), Start)
    return relay.started(recipients, now)


def send(relay: Governor, mails: int, now: float = NOW) -> None:
    for _ in range(mails):
        relay.ended(start(relay, now), Answered(), now)


def waits(relay: Governor, now: float = NOW, recipients: int = 1) -> Wait:
    permission = relay.may_start(recipients, now)
    assert isinstance(permission, Wait)
    return permission


def turned_away(
    cause: str = "quota", wait_seconds: float | None = None, *, counted: bool = True
) -> TurnedAway:
    return TurnedAway(refusal(cause, wait_seconds), counted)


def test_connections_bound_what_is_in_flight() -> None:
    relay = governor(connections=2)
    first = start(relay)
    start(relay)
    assert relay.may_start(1, NOW) == Busy()
    relay.ended(first, Unheard(), NOW)
    assert relay.in_flight == 1
    assert relay.may_start(1, NOW) == Start(probe=False)


def test_a_ticket_ends_once() -> None:
    relay = governor()
    ticket = start(relay)
    relay.ended(ticket, Answered(), NOW)
    with pytest.raises(KeyError):
        relay.ended(ticket, Answered(), NOW)


def test_a_used_up_budget_waits_with_cause_time_and_words() -> None:
    relay = governor("3 mails/hour")
    send(relay, 3)
    wait = waits(relay, NOW + 1)
    assert wait.until is not None
    assert NOW + HOUR < wait.until <= NOW + HOUR + 60
    assert (wait.hold.cause, wait.hold.since, wait.hold.until) == ("quota", NOW + 1, wait.until)
    assert wait.hold.reason == "relay main: 3 mails/hour: 3 used in the last hour"
    assert relay.hold(NOW + 1) == wait.hold
    assert relay.may_start(1, wait.until) == Start(probe=False)


def test_the_budget_that_frees_last_is_named() -> None:
    ramp = warm_up_ledger(parse_warm_up("3, then unlimited"), date(2026, 5, 28), BERLIN)
    relay = governor("3 mails/hour", more=[ramp])
    send(relay, 3)
    assert waits(relay).hold.cause == "warm_up"


@pytest.mark.parametrize(
    ("ending", "used"),
    [
        (Answered(), True),
        (Unheard(), True),
        (Unsent(), False),
        (turned_away(), True),
        (turned_away(counted=False), False),
    ],
)
def test_only_what_cannot_have_arrived_is_given_back(ending: Ending, used: bool) -> None:
    relay = governor("1 mails/day")
    relay.ended(start(relay), ending, NOW)
    assert relay.usage(NOW) == (f"1 mails/day: {int(used)} used in the last day",)


def test_a_mail_that_never_fits_is_told_from_one_that_waits() -> None:
    relay = governor("100 recipients/hour", "50 recipients/min", "5 mails/day")
    assert relay.may_start(51, NOW) == TooLarge(51, 50, "50 recipients/minute")
    assert isinstance(relay.may_start(50, NOW), Start)


def test_rates_are_no_news_for_people() -> None:
    relay = governor("10 mails/s")
    start(relay)
    permission = relay.may_start(1, NOW)
    assert isinstance(permission, Soon)
    assert NOW < permission.until < NOW + 0.11
    assert relay.may_start(1, permission.until) == Start(probe=False)
    assert relay.hold(NOW) is None


def test_a_hold_stands_while_units_come_back_bit_by_bit_and_ends_when_they_last() -> None:
    relay = governor("2 mails/hour")
    send(relay, 1)
    send(relay, 1, NOW + 600)
    first = waits(relay, NOW + 700)
    assert first.until is not None
    relay.ended(start(relay, first.until), Answered(), first.until)
    again = waits(relay, first.until + 1)
    assert again.hold.since == first.hold.since
    assert again.until is not None
    assert relay.hold(again.until + CALM_SECONDS - 1) == again.hold
    assert relay.hold(again.until + CALM_SECONDS) is None


def test_a_large_mail_alone_holds_nobody_else() -> None:
    relay = governor("10 recipients/hour")
    relay.ended(start(relay, recipients=5), Answered(), NOW)
    waits(relay, NOW, recipients=8)
    assert relay.hold(NOW) is not None
    start(relay, recipients=2)
    assert relay.hold(NOW) is None


def test_a_refused_relay_is_held_probed_with_one_mail_and_released_without_a_wave() -> None:
    relay = governor(connections=8)
    tickets = [start(relay) for _ in range(8)]
    for ticket in tickets:
        relay.ended(ticket, turned_away(), NOW)
    assert waits(relay).until == NOW + 100
    assert relay.may_start(1, NOW + 100) == Start(probe=True)
    probe = relay.started(1, NOW + 100)
    assert relay.may_start(1, NOW + 100) == Busy()
    relay.ended(probe, Answered(), NOW + 101)
    assert relay.hold(NOW + 101) is None
    widths = []
    for _ in range(4):
        burst = []
        while isinstance(relay.may_start(1, NOW + 102), Start):
            burst.append(relay.started(1, NOW + 102))
        widths.append(len(burst))
        for ticket in burst:
            relay.ended(ticket, Answered(), NOW + 102)
    assert widths == [1, 2, 4, 8]


def test_a_person_may_have_a_held_relay_probed_at_once_with_one_mail() -> None:
    relay = governor()
    relay.ended(start(relay), turned_away(), NOW)
    assert relay.probe_now(NOW + 1)
    probe = start(relay, NOW + 1)
    assert isinstance(relay.may_start(1, NOW + 1), Busy)
    relay.ended(probe, Answered(), NOW + 2)
    assert relay.hold(NOW + 2) is None
    start(relay, NOW + 2)
    assert isinstance(relay.may_start(1, NOW + 2), Busy)  # no wave
    assert not relay.probe_now(NOW + 2)


def test_a_probe_that_was_not_sent_is_made_again() -> None:
    relay = governor()
    relay.ended(start(relay), turned_away(), NOW)
    for _ in range(3):
        relay.ended(start(relay, NOW + 100), Unsent(), NOW + 100)
    assert relay.hold(NOW + 100) is not None
    assert relay.may_start(1, NOW + 100) == Start(probe=True)


def test_a_late_answer_neither_opens_nor_widens() -> None:
    relay = governor(connections=3)
    late, refused = start(relay), start(relay)
    relay.ended(refused, turned_away(), NOW)
    assert relay.may_start(1, NOW + 100) == Busy()
    relay.ended(late, Answered(), NOW + 100)
    assert relay.hold(NOW + 100) is not None
    assert relay.may_start(1, NOW + 100) == Start(probe=True)


def test_a_held_relay_names_the_time_at_which_the_budget_allows_it_too() -> None:
    relay = governor("1 mails/hour")
    relay.ended(start(relay), turned_away(), NOW)
    wait = waits(relay)
    assert wait.hold.until == NOW + 100
    assert wait.until is not None
    assert wait.until > NOW + HOUR
    assert relay.may_start(1, wait.until) == Start(probe=True)


def test_a_persons_pause_beats_everything() -> None:
    relay = governor("1 mails/hour")
    relay.ended(start(relay), turned_away(), NOW)
    relay.pause("the provider called", None, NOW + 1)
    wait = waits(relay, NOW + 10 * DAY)
    assert wait.until is None
    assert (wait.hold.cause, wait.hold.reason, wait.hold.since) == ("paused", "the provider called", NOW + 1)
    hold = relay.hold(NOW + 10 * DAY)
    assert hold is not None
    assert hold.cause == "paused"
    relay.resume()
    assert relay.may_start(1, NOW + 10 * DAY) == Start(probe=True)


def test_a_pause_with_an_end_ends() -> None:
    relay = governor(connections=4)
    relay.pause("lunch", NOW + HOUR, NOW)
    assert waits(relay, NOW + HOUR - 1).until == NOW + HOUR
    start(relay, NOW + HOUR)
    assert relay.may_start(1, NOW + HOUR) == Busy()
    assert relay.hold(NOW + HOUR) is None


def test_a_changed_pause_is_the_same_pause() -> None:
    relay = governor()
    relay.pause("lunch", NOW + 10, NOW)
    relay.pause("the afternoon off", None, NOW + 5)
    hold = relay.hold(NOW + 60)
    assert hold is not None
    assert (hold.since, hold.until, hold.reason) == (NOW, None, "the afternoon off")


def test_one_hold_after_another_is_held_since_the_first() -> None:
    relay = governor("1 mails/hour")
    send(relay, 1)
    waits(relay, NOW + 1)
    assert relay.hold(NOW + 1) is not None
    relay.pause("lunch", NOW + 20, NOW + 10)
    for at in (NOW + 11, NOW + 21):
        hold = relay.hold(at)
        assert hold is not None
        assert hold.since == NOW + 1


def test_what_is_refused_as_too_fast_is_sent_more_slowly() -> None:
    relay = governor(connections=4)
    for n in range(20):
        send(relay, 1, NOW + n / 10)
    relay.ended(start(relay, NOW + 2), turned_away("rate", 2.0), NOW + 2)
    wait = waits(relay, NOW + 2)
    assert wait.until is not None
    relay.ended(start(relay, wait.until), Answered(), wait.until)
    permission = relay.may_start(1, wait.until)
    assert isinstance(permission, Soon)
    assert wait.until + 0.1 < permission.until < wait.until + 0.3


def test_a_refused_probe_does_not_slow_down_once_more() -> None:
    relay = governor(connections=8)
    for n in range(20):
        send(relay, 1, NOW + n / 10)
    relay.ended(start(relay, NOW + 2), turned_away("rate", 2.0), NOW + 2)
    once = relay.pace.per_minute
    assert once is not None
    probe_at = waits(relay, NOW + 2).until
    assert probe_at is not None
    relay.ended(start(relay, probe_at), turned_away("rate", 2.0), probe_at)
    assert relay.pace.per_minute == once


def test_slots_are_handed_out_together_only_where_nothing_is_counted() -> None:
    assert governor(connections=5).free_slots(1, NOW) == 5
    assert governor("9 mails/day", connections=5).free_slots(1, NOW) == 1
    used = governor("1 mails/day", connections=5)
    send(used, 1)
    assert used.free_slots(1, NOW) == 0
    probed = governor(connections=5)
    probed.ended(start(probed), turned_away(), NOW)
    assert probed.free_slots(1, NOW + 99) == 0
    assert probed.free_slots(1, NOW + 100) == 1


# Forecasts


def test_a_forecast_is_the_slowest_limits() -> None:
    relay = governor("100 mails/day", "1000 recipients/day", "2 mails/s")
    assert relay.forecast(0, 1.0, NOW) == 0.0
    in_an_instant = relay.forecast(100, 1.0, NOW)
    assert isinstance(in_an_instant, float)
    assert 49 <= in_an_instant <= 51
    many = relay.forecast(150, 1.0, NOW)
    assert isinstance(many, float)
    assert DAY < many <= DAY + DAY / 60
    fat = relay.forecast(100, 25.0, NOW)
    assert isinstance(fat, float)
    assert 2 * DAY < fat <= 2 * DAY + 2 * DAY / 60


def test_a_forecast_begins_where_the_hold_ends() -> None:
    relay = governor("100 mails/day")
    relay.ended(start(relay), turned_away(counted=False), NOW)
    assert relay.forecast(10, 1.0, NOW) == pytest.approx(100.0)


def test_some_backlogs_are_never_got_through() -> None:
    relay = governor("10 recipients/day")
    assert relay.forecast(5, 11.0, NOW) == Never(
        "11 recipients never fit into the budget of 10 recipients/day"
    )
    relay.pause("on strike", None, NOW)
    assert relay.forecast(5, 1.0, NOW) == Never("relay main is paused: on strike")
    slow = governor("1 mails/day calendar UTC").forecast(10**6, 1.0, NOW)
    assert isinstance(slow, Never)
    assert "1 mails/day" in slow.reason


# Restarts


def test_what_was_used_and_why_it_is_held_survives_a_restart() -> None:
    words = ("3 mails/hour", "10 recipients/day calendar Europe/Berlin", "5 mails/s")
    relay = governor(*words)
    send(relay, 1)
    start(relay, NOW + 1)
    relay.ended(start(relay, NOW + 2), turned_away("auth"), NOW + 2)
    state = json.loads(json.dumps(relay.export()))
    other = governor(*words)
    other.restore(state, NOW + 3)
    assert other.in_flight == 0
    assert [words.split(" used")[0] for words in other.usage(NOW + 3)[:2]] == [
        "3 mails/hour: 3",
        "10 recipients/day calendar Europe/Berlin: 3 of 10",
    ]
    hold = other.hold(NOW + 3)
    assert hold is not None
    assert (hold.cause, hold.since, hold.until) == ("auth", NOW + 2, NOW + 102)


def test_a_raised_budget_keeps_what_is_used_and_a_new_one_begins_unused() -> None:
    relay = governor("3 mails/hour")
    send(relay, 3)
    other = governor("4 mails/hour", "2 mails/day")
    other.restore(relay.export(), NOW)
    send(other, 1)
    assert waits(other).hold.reason.startswith("relay main: 4 mails/hour: 4 used")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "version None is not 1"),
        ({"version": 2, "limits": {}}, "version 2 is not 1"),
        ({"version": 1}, "version 1 is not 1, or it has no limits"),
        ({"version": 1, "limits": {"mails/hour": 7}}, "mails/hour: 7 is no state"),
        (
            {"version": 1, "limits": {"mails/hour": {"in_flight": -1, "buckets": []}}},
            "mails/hour: in_flight is -1",
        ),
        ({"version": 1, "limits": {"mails/hour": {"in_flight": 0, "buckets": 5}}}, "buckets is 5"),
        ({"version": 1, "limits": {"mails/hour": {"in_flight": 0, "buckets": [[1]]}}}, "is not a bucket"),
        ({"version": 1, "limits": {"mails/hour": {"in_flight": 0, "buckets": [[1, -2]]}}}, "is not a bucket"),
        (
            {
                "version": 1,
                "limits": {"mails/day calendar UTC": {"in_flight": 0, "used": 0, "end_us": 10**30}},
            },
            "no time of this world",
        ),
        ({"version": 1, "limits": {}, "circuit": {"cause": "quota"}}, "is not a hold"),
    ],
)
def test_a_state_that_makes_no_sense_is_refused_with_its_place(state: dict[str, object], words: str) -> None:
    with pytest.raises(BadLimitState) as caught:
        governor("3 mails/hour", "3 mails/day calendar UTC").restore(state, NOW)
    assert words in str(caught.value)
