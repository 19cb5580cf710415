"""Doctor's look at a relay that is logged in to by OAuth 2: the token first, and what is wrong in one line."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.bearer_guard import BearerGuard
from fakes.scripted_relay import ScriptedRelay
from fakes.token_server import CLIENT_ID, CLIENT_SECRET, FIRST_REFRESH, TokenServer
from postlane.config.relay_section import RelaySection
from postlane.ops.check_mail import check_relay
from postlane.ops.checks import Check, State


@pytest.fixture
def endpoint() -> Iterator[TokenServer]:
    endpoint = TokenServer()
    endpoint.start()
    yield endpoint
    endpoint.stop()


def checked(endpoint: TokenServer, username: str = "desk", **oauth: Any) -> Check:
    async def check() -> Check:
        relay = ScriptedRelay(guard=BearerGuard("desk", endpoint.live))
        port = await relay.start()
        section = {"token_url": endpoint.url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **oauth}
        keys = {"host": "127.0.0.1", "port": port, "tls": "none", "username": username, "oauth": section}
        try:
            return await check_relay("main", RelaySection.model_validate(keys))
        finally:
            await relay.stop()

    found = asyncio.run(check())
    assert "\n" not in found.detail
    assert not [s for s in (CLIENT_SECRET, FIRST_REFRESH, *endpoint.live) if s in f"{found}"]
    return found


def test_a_token_that_the_relay_takes(endpoint: TokenServer) -> None:
    found = checked(endpoint)
    assert found.state is State.OK
    assert found.detail.endswith("lets us in as desk by access token")


def test_a_grant_that_ends_soon(endpoint: TokenServer) -> None:
    endpoint.script.extra = {"refresh_token_expires_in": 5 * 86_400}
    found = checked(endpoint, refresh_token=FIRST_REFRESH)
    assert found.state is State.WARN
    assert "its grant ends in 5.0 days" in found.detail
    endpoint.script.extra = {"refresh_token_expires_in": 50 * 86_400}
    assert checked(endpoint, refresh_token=FIRST_REFRESH).state is State.OK


def test_a_grant_that_is_dead(endpoint: TokenServer) -> None:
    found = checked(endpoint, refresh_token="of-another-desk-entirely")
    assert found.state is State.FAIL
    assert found.detail.startswith(
        "no access token: the token endpoint 127.0.0.1 refuses: invalid_grant: AADSTS70000"
    )
    assert found.advice.startswith("[relays.main.oauth]: check client_id, client_secret, scope")


def test_an_endpoint_that_is_away(endpoint: TokenServer) -> None:
    endpoint.script.raw = (503, "text/plain", b"")
    found = checked(endpoint)
    assert found.detail == "no access token: the token endpoint 127.0.0.1 answers 503"
    assert found.advice == "[relays.main.oauth]: check that token_url can be reached from here"


def test_a_relay_that_refuses_a_good_token(endpoint: TokenServer) -> None:
    found = checked(endpoint, username="somebody-else")
    assert found.state is State.FAIL
    assert "at auth: 535 Not accepted: AUTH OAUTHBEARER ***" in found.detail
    assert "check username, oauth.scope" in found.advice


def test_a_refresh_token_that_has_no_place(endpoint: TokenServer, tmp_path: Path) -> None:
    endpoint.script.rotates = True
    kept: dict[str, Any] = {"refresh_token": FIRST_REFRESH, "refresh_token_file": tmp_path / "refresh"}
    assert [checked(endpoint, **kept).state for _ in range(2)] == [State.OK] * 2
    endpoint.refresh_token = FIRST_REFRESH
    found = checked(endpoint, refresh_token=FIRST_REFRESH)
    assert found.state is State.WARN
    assert "set refresh_token_file" in found.advice


def test_a_file_that_cannot_be_used(endpoint: TokenServer, tmp_path: Path) -> None:
    found = checked(endpoint, refresh_token=FIRST_REFRESH, refresh_token_file=tmp_path / "no" / "file")
    assert found.state is State.FAIL
    assert "relays.main.oauth.refresh_token_file" in found.detail
