"""When a token is used, renewed, missed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.oauth.token_keeper import Token, TokenKeeper
from postlane.core.oauth.token_reply import Granted, Refused, TokenReply, Unavailable
from postlane.core.smtp.attempt import RelayHeld, judge
from postlane.core.smtp.smtp_reply import Outcome, Scope
from postlane.core.smtp.transcript import Transcript

NOW = 1_700_000_000.0
HOUR = Granted(access_token="first", lifetime_seconds=3600)
DEAD = Refused("refuses: invalid_grant", "AADSTS70008: expired; federated, generated, too many words")
AWAY = Unavailable("answers 503")


def keeper_with(*replies: TokenReply, now: float = NOW, jitter: float = 0.0) -> TokenKeeper:
    keeper = TokenKeeper()
    for reply in replies:
        keeper.answered(reply, now, jitter)
    return keeper


def the_token(keeper: TokenKeeper) -> Token:
    assert keeper.token is not None
    return keeper.token


def test_a_token_is_renewed_long_before_its_end() -> None:
    keeper = keeper_with(HOUR)
    assert keeper.ask_at() == NOW + 0.6 * 3600
    assert keeper_with(HOUR, jitter=1.0).ask_at() == NOW + 0.75 * 3600
    assert keeper.usable(NOW + 3539) is keeper.token
    assert keeper.usable(NOW + 3540) is None


@given(st.floats(0.5, 1e5), st.floats(0, 1))
def test_whatever_its_life_it_can_be_used_and_is_due_while_it_can(life: float, jitter: float) -> None:
    keeper = keeper_with(Granted(access_token="x", lifetime_seconds=life), jitter=jitter)
    assert NOW < keeper.ask_at() < the_token(keeper).ends_at < NOW + life


def test_while_the_endpoint_is_away_the_old_token_serves_and_the_waits_double() -> None:
    keeper = keeper_with(HOUR)
    waits = []
    now = keeper.ask_at()
    for _ in range(9):
        keeper.answered(AWAY, now, 0.0)
        assert keeper.usable(now) is not None
        waits.append(keeper.ask_at() - now)
        now += 1
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    keeper.answered(HOUR, now, 0.0)
    assert keeper.trouble is None


def test_a_wait_that_the_endpoint_names_wins_and_is_lengthened_only() -> None:
    keeper = keeper_with(Unavailable("answers 429", 120.0), jitter=1.0)
    assert keeper.ask_at() == pytest.approx(NOW + 144)


def test_without_a_token_trouble_with_the_endpoint_is_a_wait() -> None:
    reply = keeper_with(AWAY).reply(NOW)
    verdict = load_classifier().classify(reply)
    assert (reply.code, verdict.outcome, verdict.scope) == (454, Outcome.HOLD, Scope.RELAY)
    assert verdict.cause == "auth_unavailable"
    assert verdict.wait_seconds == 5
    assert reply.text.endswith("no access token: the token endpoint answers 503; asked again in 5 s")


def test_a_refused_grant_breaks_the_relay_and_keeps_the_mail() -> None:
    reply = keeper_with(DEAD).reply(NOW)
    held = judge(Transcript(relay="main", stopped=reply), ("a@x.example",), load_classifier().classify)
    assert isinstance(held, RelayHeld)
    assert (held.auth, held.cause) == (True, "auth")
    assert "the token endpoint refuses: invalid_grant; a person must repair it" in held.reason
    assert "AADSTS" not in held.reason  # its words may be about persons, and may mislead the rules


def test_a_refused_grant_is_asked_for_ever_more_rarely_and_may_come_back() -> None:
    keeper, waits = TokenKeeper(), []
    for _ in range(6):
        keeper.answered(DEAD, NOW, 0.0)
        waits.append(keeper.ask_at() - NOW)
    assert waits == [60, 120, 240, 480, 900, 900]
    keeper.answered(AWAY, NOW, 0.0)
    assert keeper.ask_at() == NOW + 5
    keeper.answered(HOUR, NOW, 0.0)
    assert keeper.usable(NOW) is not None


def test_before_the_first_answer_it_is_asked_at_once() -> None:
    keeper = TokenKeeper()
    assert keeper.ask_at() <= NOW
    assert keeper.usable(NOW) is None
    assert keeper.reply(NOW).code == 454


def test_a_living_token_that_the_relay_refuses_is_renewed_once() -> None:
    keeper = keeper_with(HOUR)
    first = the_token(keeper)
    assert keeper.refused_by_relay(first)
    assert keeper.usable(NOW) is None
    assert keeper.ask_at() <= NOW
    keeper.answered(Granted(access_token="second", lifetime_seconds=3600), NOW, 0.0)
    second = the_token(keeper)
    assert keeper.refused_by_relay(first)  # a session that comes late gets the second one
    assert keeper.usable(NOW) is second
    assert not keeper.refused_by_relay(second)
    assert keeper.usable(NOW) is second


def test_a_token_that_was_taken_may_be_refused_anew() -> None:
    keeper = keeper_with(HOUR)
    keeper.refused_by_relay(the_token(keeper))
    keeper.answered(HOUR, NOW, 0.0)
    keeper.taken_by_relay(the_token(keeper))
    assert keeper.refused_by_relay(the_token(keeper))


def test_a_refused_token_waits_for_the_endpoint_like_any_other() -> None:
    keeper = keeper_with(HOUR)
    keeper.refused_by_relay(the_token(keeper))
    keeper.answered(AWAY, NOW, 0.0)
    assert keeper.ask_at() == NOW + 5
    assert keeper.reply(NOW).code == 454


def test_tokens_stay_out_of_the_repr() -> None:
    assert "first" not in repr(the_token(keeper_with(HOUR)))
