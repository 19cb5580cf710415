"""What statuses and pauses mean for a relay's state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.control.standing import Pause, Resumption
from postlane.core.events.status import MailState, MailStatus, RecipientOutcome, RecipientState, SmtpReply
from postlane.core.relays.relay_state import (
    RelayState,
    RelayView,
    cut_short,
    hear,
    held_with,
    stands_behind,
    view_relay,
)
from postlane.core.routing.routes import Route

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
REPLY = SmtpReply(phase="rcpt", code=450, enhanced_code="4.2.1", text="mailbox busy")
ROUTES = (Route(tiers=((("main", 1),), (("backup", 1),))),)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def status(seconds: float, state: MailState, relay: str | None = "main", **changes: object) -> MailStatus:
    fields: dict[str, object] = {
        "status_id": "s",
        "occurred_at": at(seconds),
        "state": state,
        "final": state is MailState.SENT,
        "topic_id": "topic-1",
        "partition": 0,
        "offset": 1,
        "cause": "accepted",
        "reason": "reason",
        "attempt": 0,
        "instance": "host-1",
        "relay": relay,
    }
    return MailStatus(**(fields | changes))  # type: ignore[arg-type]


def held(seconds: float, until: float | None, relay: str = "main", cause: str = "quota") -> MailStatus:
    end = None if until is None else at(until)
    return status(seconds, MailState.DEFERRED, relay, cause=cause, next_attempt_at=end)


def sent(seconds: float, relay: str = "main") -> MailStatus:
    return status(seconds, MailState.SENT, relay)


def deferred(seconds: float, reply: SmtpReply | None = REPLY) -> MailStatus:
    """An attempt that did not end the mail; without a reply the connection was lost."""
    outcome = RecipientOutcome(address="a@b.test", state=RecipientState.WAITING, reply=reply)
    return status(seconds, MailState.DEFERRED, reply=reply, recipients=(outcome,), next_attempt_at=at(1e6))


def view(now: float, *statuses: MailStatus, pause: Pause | None = None) -> RelayView:
    return view_relay("main", pause, hear(statuses, ROUTES), ROUTES, at(now))


@pytest.mark.parametrize(
    ("statuses", "now", "state"),
    [
        ([], 0, RelayState.UNKNOWN),
        ([sent(0, "other")], 1, RelayState.UNKNOWN),
        ([status(0, MailState.SUPPRESSED, None)], 1, RelayState.UNKNOWN),
        ([deferred(0, reply=None)], 1, RelayState.UNKNOWN),  # nobody knows why the connection was lost
        ([sent(0)], 1, RelayState.SENDS),
        ([deferred(0)], 1, RelayState.SENDS),  # it judged that mail
        ([held(0, 300)], 299, RelayState.HELD),
        ([held(0, 300)], 300, RelayState.DUE),
        ([held(0, None)], 1e6, RelayState.HELD),
        ([held(0, 300), sent(1)], 299, RelayState.HELD),  # that mail was in flight when the hold began
        ([held(0, 300), sent(1)], 301, RelayState.DUE),
        ([held(0, 300), sent(30)], 31, RelayState.SENDS),
        ([held(0, 300), deferred(30)], 31, RelayState.SENDS),
        ([held(0, 5), sent(5)], 6, RelayState.SENDS),
        ([held(0, None), sent(30)], 31, RelayState.SENDS),
        ([sent(0), held(1, 300)], 2, RelayState.HELD),
        ([held(0, 300), sent(310), held(320, 900)], 321, RelayState.HELD),
        ([held(0, 300), held(290, 600), sent(301)], 302, RelayState.HELD),  # it was extended
        ([held(0, None, cause="paused"), sent(-1)], 1, RelayState.SENDS),  # resumed: mail.control says so
        ([held(0, 300), sent(40, "backup")], 41, RelayState.HELD),
        ([held(0, 300), sent(301, "backup")], 302, RelayState.PASSED_OVER),
        ([held(0, 300), sent(200, "backup")], 302, RelayState.DUE),
        ([sent(0), sent(29, "backup")], 30, RelayState.SENDS),
        ([sent(0), sent(30, "backup")], 31, RelayState.PASSED_OVER),
        ([sent(30, "backup")], 31, RelayState.PASSED_OVER),
        ([sent(30, "backup"), sent(31)], 32, RelayState.SENDS),
        ([sent(30, "backup"), held(40, 300)], 400, RelayState.DUE),
        ([sent(0), held(40, 300, "backup")], 41, RelayState.HELD),  # else it would have taken that mail
        ([sent(0), held(40, 300, "backup")], 301, RelayState.DUE),
        ([held(40, 300, "backup"), sent(80)], 81, RelayState.SENDS),
        ([sent(0), held(40, None, "backup", "paused")], 41, RelayState.SENDS),
        ([sent(0), held(40, 300, "elsewhere")], 41, RelayState.SENDS),
    ],
)
def test_the_newest_words_decide(statuses: list[MailStatus], now: float, state: RelayState) -> None:
    assert view(now, *statuses).state is state


def test_a_pause_comes_first() -> None:
    pause = Pause("maintenance", "kim@desk", START.timestamp(), at(7200).timestamp())
    assert view(10, sent(5), held(6, 300), pause=pause) == RelayView(
        relay="main",
        state=RelayState.PAUSED,
        cause="paused",
        reason="maintenance",
        by="kim@desk",
        since=START,
        until=at(7200),
        answered_at=at(5),
    )


def test_a_hold_has_its_first_time_and_its_newest_words() -> None:
    words = [held(0, 300), sent(2), replace(held(290, 900), reason="still"), held(400, 900, "other")]
    assert view(301, *words) == RelayView(
        relay="main",
        state=RelayState.HELD,
        cause="quota",
        reason="still",
        since=START,
        until=at(900),
        told_at=at(290),
        answered_at=at(2),
    )


def test_a_hold_after_an_answer_is_a_new_one() -> None:
    assert view(321, held(0, 300), sent(310), held(320, 900)).since == at(320)


def test_a_hold_that_another_relay_tells_of_has_no_cause_of_its_own() -> None:
    implied = view(41, sent(0), held(40, 300, "backup"), held(41, 350, "backup"))
    assert implied == RelayView(
        relay="main",
        state=RelayState.HELD,
        since=at(40),
        until=at(350),
        told_at=at(41),
        answered_at=at(0),
        told_by="backup",
    )
    assert view(42, held(40, 300, "backup"), held(41, 350)).cause == "quota"
    own = view(42, held(0, 900), held(40, 300, "backup"))
    assert (own.cause, own.until, own.told_by) == ("quota", at(900), None)


@pytest.mark.parametrize(
    ("routes", "others"),
    [
        ([["main"]], set()),
        ([["main", "backup"]], {"backup"}),
        ([["backup", "third", "main"]], {"backup", "third"}),
        ([["main", "backup", "third"], ["main", "third"]], {"third"}),
        ([["main", "backup"], ["main"]], set()),  # it may have been named for the mail of the second route
        ([["backup"]], set()),
    ],
)
def test_who_is_held_with_it_stands_in_all_of_its_routes(routes: list[list[str]], others: set[str]) -> None:
    made = [Route(tiers=tuple(((name, 1),) for name in relays)) for relays in routes]
    assert held_with("main", made) == others


def test_who_sends_in_its_place_is_named() -> None:
    passed = view(100, sent(0), sent(90, "backup"))
    assert (passed.told_by, passed.told_at, passed.answered_at) == ("backup", at(90), at(0))


@pytest.mark.parametrize(
    ("routes", "behind"),
    [
        ([["main"], ["backup"]], True),
        ([["main"], ["third"], ["backup"]], True),
        ([["main", "backup"]], False),  # they share the mail
        ([["backup"], ["main"]], False),
        ([["main"]], False),  # it is not used at all
    ],
)
def test_a_relay_stands_behind_another_by_its_tier(routes: list[list[str]], behind: bool) -> None:
    route = Route(tiers=tuple(tuple((name, 1) for name in tier) for tier in routes))
    assert stands_behind("backup", "main", [route]) is behind


def test_it_stands_behind_only_if_it_does_so_in_every_route() -> None:
    alone = Route(name="alone", tiers=((("backup", 1),),))
    assert not stands_behind("backup", "main", [*ROUTES, alone])


WORDS = st.one_of(
    st.builds(sent, st.integers(0, 500)),
    st.builds(deferred, st.integers(0, 500)),
    st.builds(lambda at_, more: held(at_, at_ + more), st.integers(0, 500), st.integers(1, 300)),
)


@given(st.lists(WORDS, unique_by=lambda word: word.occurred_at), st.randoms(use_true_random=False))
def test_the_order_of_reading_does_not_matter(words: list[MailStatus], random: object) -> None:
    shuffled = list(words)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert hear(shuffled, ROUTES) == hear(words, ROUTES)


@given(st.lists(WORDS), st.integers(501, 2000))
def test_an_answer_long_after_all_else_means_that_it_sends(words: list[MailStatus], last: int) -> None:
    assert view(last + 30, *words, sent(last + 30)).state is RelayState.SENDS


@pytest.mark.parametrize(
    ("statuses", "now", "state"),
    [
        ([held(0, 300)], 19, RelayState.DUE),
        ([held(0, 300), sent(11)], 19, RelayState.SENDS),
        ([held(0, 300), sent(9)], 19, RelayState.DUE),  # that mail may have been in flight
        ([held(0, None)], 19, RelayState.DUE),
        ([held(0, 300), held(12, 400)], 19, RelayState.HELD),  # the probe was refused
        ([held(0, 5)], 19, RelayState.DUE),
        ([sent(0)], 19, RelayState.SENDS),
        ([], 19, RelayState.UNKNOWN),
    ],
)
def test_a_person_may_have_it_tried_before_the_time_that_was_told(
    statuses: list[MailStatus], now: float, state: RelayState
) -> None:
    heard = cut_short(hear(statuses, ROUTES), {"main": Resumption("c", at(10).timestamp())})
    assert view_relay("main", None, heard, ROUTES, at(now)).state is state
