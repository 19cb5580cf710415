"""What a token endpoint's answers mean."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.oauth.token_reply import (
    LIFETIME_SECONDS_ASSUMED,
    LIFETIME_SECONDS_MAX,
    Granted,
    Refused,
    Unavailable,
    read_token_reply,
)

JSON = {"content-type": "application/json"}
TOKEN: dict[str, Any] = {"access_token": "abc.def", "token_type": "Bearer", "expires_in": 3599}


def read(status: int, said: object, **headers: str) -> Granted | Refused | Unavailable:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_token_reply(status, JSON | named, json.dumps(said).encode())


@pytest.mark.parametrize(
    ("said", "granted"),
    [
        (TOKEN, Granted(access_token="abc.def", lifetime_seconds=3599)),
        (TOKEN | {"expires_in": "3599"}, Granted(access_token="abc.def", lifetime_seconds=3599)),
        (TOKEN | {"token_type": "bearer"}, Granted(access_token="abc.def", lifetime_seconds=3599)),
        (TOKEN | {"expires_in": 1e9}, Granted(access_token="abc.def", lifetime_seconds=LIFETIME_SECONDS_MAX)),
        (
            TOKEN | {"expires_in": True},
            Granted(access_token="abc.def", lifetime_seconds=LIFETIME_SECONDS_ASSUMED),
        ),
        (
            TOKEN | {"expires_in": "an hour"},
            Granted(access_token="abc.def", lifetime_seconds=LIFETIME_SECONDS_ASSUMED),
        ),
        ({"access_token": "x"}, Granted(access_token="x", lifetime_seconds=LIFETIME_SECONDS_ASSUMED)),
        (
            TOKEN | {"refresh_token": "r", "refresh_token_expires_in": 604799},
            Granted(access_token="abc.def", lifetime_seconds=3599, refresh_token="r", grant_seconds=604799),
        ),
        (
            TOKEN | {"refresh_token": "r", "refresh_expires_in": 1800},  # Keycloak
            Granted(access_token="abc.def", lifetime_seconds=3599, refresh_token="r", grant_seconds=1800),
        ),
        (
            TOKEN | {"refresh_token": "", "refresh_expires_in": 0},  # Keycloak: never
            Granted(access_token="abc.def", lifetime_seconds=3599),
        ),
    ],
)
def test_tokens(said: object, granted: Granted) -> None:
    assert read(200, said) == granted


@pytest.mark.parametrize(
    ("status", "said", "short"),
    [
        (400, {"error": "invalid_grant", "error_description": "Token has been revoked."}, "refuses: invalid_grant"),
        (401, {"error": "invalid_client"}, "refuses: invalid_client"),
        (400, {"error": "unauthorized_client"}, "refuses: unauthorized_client"),
        (400, {"error": "invalid_scope"}, "refuses: invalid_scope"),
        (200, {"error": "bad_refresh_token"}, "refuses: bad_refresh_token"),
        (500, {"error": "invalid_grant"}, "refuses: invalid_grant"),
        (400, {"error": "\x01\r\nS: 235 ok"}, "refuses: an error without a proper name"),
        (302, "elsewhere", "redirects (302)"),
        (404, "<html>", "answers 404"),
        (403, None, "answers 403"),
    ],
)  # fmt: skip
def test_what_a_person_must_repair(status: int, said: object, short: str) -> None:
    reply = read(status, said)
    assert isinstance(reply, Refused)
    assert reply.short == short


@pytest.mark.parametrize(
    ("status", "said", "words", "wait_seconds"),
    [
        (503, "down", "answers 503", None),
        (500, {"error": "server_error"}, "answers 500: server_error", None),
        (400, {"error": "temporarily_unavailable"}, "answers 400: temporarily_unavailable", None),
        (429, {"error": "invalid_request"}, "answers 429: invalid_request", None),
        (429, None, "answers 429", None),
        (200, [1], "answers with application/json that is no JSON object", None),
        (200, {"token_type": "Bearer"}, "answers without an access token that can be used", None),
        (200, TOKEN | {"access_token": "a\x01auth=Bearer b"}, "answers without an access token", None),
        (200, TOKEN | {"access_token": "a" * 9000}, "answers without an access token", None),
        (200, TOKEN | {"access_token": 1}, "answers without an access token", None),
        (200, TOKEN | {"token_type": "mac"}, "answers with an access token that is no bearer token", None),
        (200, TOKEN | {"expires_in": 0}, "answers with an access token that has expired already", None),
        (200, TOKEN | {"expires_in": "-5"}, "answers with an access token that has expired already", None),
    ],
)
def test_what_waiting_may_help(status: int, said: object, words: str, wait_seconds: float | None) -> None:
    reply = read(status, said)
    assert isinstance(reply, Unavailable)
    assert reply.words.startswith(words)
    assert reply.wait_seconds == wait_seconds


@pytest.mark.parametrize(
    ("named", "seconds"), [("120", 120.0), ("999999", 3600.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None)]
)  # fmt: skip
def test_the_wait_that_the_endpoint_asks_for(named: str, seconds: float | None) -> None:
    assert read(503, None, retry_after=named) == Unavailable("answers 503", seconds)


def test_the_words_of_a_refusal_are_one_line_of_bounded_length() -> None:
    reply = read(400, {"error": "invalid_grant", "error_description": "AADSTS70008:\r\n" + "x" * 5000})
    assert isinstance(reply, Refused)
    assert reply.words.startswith("AADSTS70008: xxx")
    assert len(reply.words) == 300


@given(st.integers(100, 599), st.binary(max_size=200))
def test_anything_has_a_meaning(status: int, body: bytes) -> None:
    assert isinstance(read_token_reply(status, {}, body), Granted | Refused | Unavailable)


JSONS = st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists)
MEMBERS = st.sampled_from(
    ["access_token", "token_type", "expires_in", "error", "refresh_token", "refresh_expires_in"]
)


@given(st.integers(200, 599), st.dictionaries(MEMBERS, JSONS))
def test_any_members_have_a_meaning(status: int, said: dict[str, object]) -> None:
    reply = read(status, said)
    if isinstance(reply, Granted):
        assert 0 < reply.lifetime_seconds <= LIFETIME_SECONDS_MAX
        assert reply.grant_seconds is None or reply.grant_seconds > 0


def test_tokens_stay_out_of_the_repr() -> None:
    shown = repr(read(200, TOKEN | {"refresh_token": "r-secret"}))
    assert "abc.def" not in shown
    assert "r-secret" not in shown
