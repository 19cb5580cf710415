"""Mail through a relay that checks bearer tokens, which a real token endpoint issues; both behind TLS, or on loopback without."""

import asyncio
import json
import re
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from structlog.typing import EventDict

from fakes.bearer_guard import ERROR_ANSWERS, BearerGuard
from fakes.scripted_relay import ScriptedRelay
from fakes.token_server import CLIENT_ID, CLIENT_SECRET, FIRST_REFRESH, TokenServer
from postlane.adapters.smtp_rules_file import load_classifier
from postlane.adapters.smtp_sink import SmtpSink
from postlane.adapters.token_source import Standing
from postlane.config.relay_section import RelaySection
from postlane.config.settings import ConfigError
from postlane.core.smtp.attempt import RelayHeld, describe, judge
from postlane.core.smtp.transcript import Envelope, Transcript

DESK = "desk@example.com"
ENVELOPE = Envelope(DESK, ("a@x.example",))
CONTENT = b"Subject: x\r\n\r\nhi\r\n"
CLASSIFY = load_classifier().classify


@dataclass
class Site:
    """A relay, a token endpoint, and sinks between them; everything that was said is in `lines`."""

    relay: ScriptedRelay
    guard: BearerGuard
    endpoint: TokenServer
    port: int
    lines: list[EventDict]
    sinks: list[SmtpSink] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)

    def sink(self, **oauth: Any) -> SmtpSink:
        """A sender process's sink; keyword arguments are keys of the oauth section."""
        section = {"token_url": self.endpoint.url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        keys = {"host": "127.0.0.1", "port": self.port, "tls": "none", "ehlo_name": "desk.example"}
        relay = RelaySection.model_validate(keys | {"username": DESK, "oauth": section | oauth})
        self.sinks.append(SmtpSink("main", relay, note_grant=self.standings.append))
        return self.sinks[-1]

    async def refusal(self, sink: SmtpSink) -> RelayHeld:
        """One mail that must be held."""
        held = judge(await sink.send(ENVELOPE, CONTENT), ENVELOPE.recipients, CLASSIFY)
        assert isinstance(held, RelayHeld)
        return held

    def said(self, event: str) -> list[EventDict]:
        return [line for line in self.lines if line["event"] == event]

    def secrets(self) -> set[str]:
        """Whatever must never be seen."""
        sent = {form[key] for form in self.endpoint.requests for key in form if key == "refresh_token"}
        seen = {token for _, token in self.guard.tried} | self.endpoint.live | sent
        return seen | {CLIENT_SECRET, FIRST_REFRESH, self.endpoint.refresh_token}


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
async def site(lines: list[EventDict]) -> AsyncIterator[Site]:
    endpoint = TokenServer()
    endpoint.start()
    guard = BearerGuard(DESK, endpoint.live)
    relay = ScriptedRelay(guard=guard)
    site = Site(relay, guard, endpoint, await relay.start(), lines)
    yield site
    for sink in site.sinks:
        await sink.close()
    await relay.stop()
    await asyncio.to_thread(endpoint.stop)
    seen = f"{lines} {site.standings} {site.sinks}"
    assert not [secret for secret in site.secrets() if secret in seen]


def accepted(transcript: Transcript) -> bool:
    return transcript.accepted is not None


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the other side's state, seen from outside
            await asyncio.sleep(0.005)


# Success


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
@pytest.mark.parametrize("refresh_token", [None, FIRST_REFRESH])
async def test_a_mail_goes_out_by_either_grant_and_mechanism(
    site: Site, mechanism: str, refresh_token: str | None
) -> None:
    sink = site.sink(refresh_token=refresh_token, mechanism=mechanism.lower(), scope="mail.send")
    assert accepted(await sink.send(ENVELOPE, CONTENT))
    assert [login for login, _ in site.guard.tried] == [mechanism]
    (form,) = site.endpoint.requests
    assert form["grant_type"] == ("refresh_token" if refresh_token else "client_credentials")
    assert (form["client_id"], form["client_secret"], form["scope"]) == (
        CLIENT_ID,
        CLIENT_SECRET,
        "mail.send",
    )
    assert [(standing.ok, standing.broken) for standing in site.standings] == [(True, False)]


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["XOAUTH2", "OAUTHBEARER"], "OAUTHBEARER"),
        (["XOAUTH2"], "XOAUTH2"),
        (["PLAIN", "OAUTHBEARER"], "OAUTHBEARER"),
    ],
)
async def test_the_mechanism_is_chosen_from_the_offer(site: Site, offered: list[str], chosen: str) -> None:
    site.guard.mechanisms = tuple(offered)
    assert accepted(await site.sink().send(ENVELOPE, CONTENT))
    assert site.guard.tried[0][0] == chosen


async def test_a_relay_without_the_mechanism_is_told_so(site: Site) -> None:
    site.guard.mechanisms = ("PLAIN", "LOGIN")
    held = await site.refusal(site.sink())
    assert held.auth
    assert "the relay offers PLAIN, LOGIN; OAUTHBEARER or XOAUTH2 is needed" in held.reason
    assert site.guard.tried == []


async def test_the_client_may_show_itself_by_http_basic(site: Site) -> None:
    assert accepted(await site.sink(client_authentication="basic").send(ENVELOPE, CONTENT))
    assert len(site.endpoint.basic) == 1
    assert "client_secret" not in site.endpoint.requests[0]


async def test_sessions_of_a_process_share_one_token_and_one_renewal(site: Site) -> None:
    site.endpoint.script.held = threading.Event()
    sink = site.sink()
    sending = [asyncio.create_task(sink.send(ENVELOPE, CONTENT)) for _ in range(4)]
    await until(lambda: site.endpoint.requests)
    sending[0].cancel()  # whoever gives up takes nothing away from the others
    site.endpoint.script.held.set()
    transcripts = await asyncio.gather(*sending[1:])
    assert all(accepted(transcript) for transcript in transcripts)
    assert len(site.endpoint.requests) == 1
    assert len({token for _, token in site.guard.tried}) == 1


# Renewal


async def test_an_expired_token_is_renewed_before_it_is_used(site: Site) -> None:
    site.endpoint.script.lifetime_seconds = 1
    sink = site.sink()
    assert accepted(await sink.send(ENVELOPE, CONTENT))
    await until(lambda: site.endpoint.issued >= 2)  # also without any mail
    site.endpoint.live.discard(site.guard.tried[0][1])
    await close_sessions(sink, site)
    assert accepted(await sink.send(ENVELOPE, CONTENT))
    assert site.guard.answered == []


async def test_a_living_token_that_the_relay_refuses_is_renewed_and_shown_again(site: Site) -> None:
    sink = site.sink()
    assert accepted(await sink.send(ENVELOPE, CONTENT))
    site.endpoint.live.clear()  # the provider revoked it
    await close_sessions(sink, site)
    assert accepted(await sink.send(ENVELOPE, CONTENT))
    assert len(site.guard.tried) == 3
    assert site.guard.answered == [("OAUTHBEARER", "AQ==")]


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
async def test_a_relay_that_refuses_the_second_token_too_is_broken(site: Site, mechanism: str) -> None:
    site.guard.mechanisms = (mechanism,)
    sink = site.sink()
    site.relay.guard = BearerGuard("somebody else", site.endpoint.live, mechanism)
    held = await site.refusal(sink)
    assert (held.auth, held.cause) == (True, "auth")
    assert held.reason == (
        f"relay main: 535 5.7.8 Not accepted: AUTH {mechanism} *** (status invalid_token, scope mail) (auth)"
    )
    assert site.relay.guard.answered == [(mechanism, ERROR_ANSWERS[mechanism])] * 2
    assert len(site.endpoint.requests) == 2
    await site.refusal(sink)
    assert len(site.endpoint.requests) == 2  # the account must be repaired: more tokens would not help
    assert site.relay.guard.tried[0][1] not in held.reason


async def test_while_the_endpoint_is_down_the_old_token_serves(site: Site) -> None:
    site.endpoint.script.lifetime_seconds = 20
    sink = site.sink()
    assert accepted(await sink.send(ENVELOPE, CONTENT))
    site.endpoint.script.raw = (503, "text/html", b"down")
    source = sink._tokens
    assert source is not None
    source._renew()
    await until(lambda: site.said("oauth_unavailable"))
    await close_sessions(sink, site)
    assert accepted(await sink.send(ENVELOPE, CONTENT))
    assert site.standings[-1].ok is False
    assert site.standings[-1].broken is False
    site.endpoint.script.raw = None
    source._renew()
    await until(lambda: site.said("oauth_works_again"))


# The endpoint in trouble


async def test_a_revoked_grant_breaks_the_relay_with_one_line(site: Site) -> None:
    site.endpoint.script.error = "invalid_grant"
    sink = site.sink(refresh_token=FIRST_REFRESH)
    for _ in range(3):
        held = await site.refusal(sink)
        assert (held.auth, held.cause) == (True, "auth")
        assert "the token endpoint refuses: invalid_grant" in held.reason
    assert site.relay.sessions == 0  # a relay is not bothered without a token
    assert len(site.endpoint.requests) == 1  # nor is the endpoint, again and again
    (line,) = site.said("oauth_broken")
    assert line["log_level"] == "error"
    assert "AADSTS70000: invalid_grant" in line["reason"]
    assert "'refresh_token': '***'" in line["reason"]
    assert [standing.broken for standing in site.standings] == [True]


async def test_a_wrong_client_secret_is_said(site: Site) -> None:
    site.endpoint.script.error, site.endpoint.script.error_status = None, 401
    held = await site.refusal(site.sink(client_secret="wrong-client-secret-of-some-length"))
    assert held.auth
    assert "refuses: invalid_client" in held.reason
    assert "wrong-client-secret" not in f"{site.lines} {site.standings}"


@pytest.mark.parametrize("authentication", ["body", "basic"])
async def test_an_endpoint_that_echoes_everything_gives_nothing_away(site: Site, authentication: str) -> None:
    site.endpoint.script.error = f"invalid_request {CLIENT_SECRET[:20]}"
    held = await site.refusal(site.sink(client_authentication=authentication, refresh_token=FIRST_REFRESH))
    said = f"{held} {site.lines} {site.standings}"
    assert "AADSTS70000" in said
    for secret in (CLIENT_SECRET, FIRST_REFRESH, *site.endpoint.basic):
        assert secret not in said
        assert secret[:20] not in said


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ((503, "text/html", b"<html>down"), "answers 503; asked again in "),
        ((429, "application/json", b"{}"), "answers 429; asked again in "),
        ((200, "text/html", b"<html>please log in to the hotel"), "answers with text/html that is no JSON object"),
        ((200, "application/json", b'{"access_token": "abc'), "answers with application/json that is no JSON object"),
        ((200, "application/json", b"{}"), "answers without an access token"),
        ((200, "application/json", b"[" * 300_000), "is no JSON object"),
        ((200, "application/json", b"[" * 100_000), "is no JSON object"),
    ],
)  # fmt: skip
async def test_an_endpoint_in_trouble_is_a_wait(site: Site, raw: tuple[int, str, bytes], words: str) -> None:
    site.endpoint.script.raw = raw
    held = await site.refusal(site.sink())
    assert words in describe(held.reply)
    assert (held.auth, held.cause) == (False, "auth_unavailable")
    assert held.wait_seconds is not None
    assert 5 <= held.wait_seconds <= 6


async def test_the_wait_that_the_endpoint_names_is_the_relays(site: Site) -> None:
    site.endpoint.script.raw = (429, "application/json", b"{}")
    site.endpoint.script.headers = {"Retry-After": "40"}
    held = await site.refusal(site.sink())
    assert held.wait_seconds is not None
    assert 40 <= held.wait_seconds <= 48


async def test_a_wrong_content_type_around_a_good_token_does_no_harm(site: Site) -> None:
    site.endpoint.live.add("a-good-token")
    site.endpoint.script.raw = (
        200,
        "text/plain",
        b'{"access_token": "a-good-token", "token_type": "bearer"}',
    )
    assert accepted(await site.sink().send(ENVELOPE, CONTENT))


async def test_a_redirect_is_not_followed_with_our_secrets(site: Site) -> None:
    site.endpoint.script.raw = (307, "text/html", b"")
    site.endpoint.script.headers = {"Location": site.endpoint.url + "/elsewhere"}
    held = await site.refusal(site.sink())
    assert held.auth
    assert "the token endpoint redirects (307)" in held.reason
    assert len(site.endpoint.requests) == 1


async def test_an_endpoint_that_says_nothing_is_left_in_time(site: Site) -> None:
    site.endpoint.script.held = threading.Event()
    held = await site.refusal(site.sink(timeout_seconds=0.2))
    assert "the token endpoint does not answer within 0.2 s" in held.reason
    assert not held.auth


async def test_an_endpoint_that_drips_is_left_in_time(site: Site) -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.02)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    held = await site.refusal(site.sink(token_url=url, timeout_seconds=0.3))
    assert "does not answer within 0.3 s" in held.reason
    server.close()


async def test_an_endpoint_that_is_gone(site: Site) -> None:
    await asyncio.to_thread(site.endpoint.stop)
    held = await site.refusal(site.sink())
    assert "the token endpoint cannot be reached: [Errno 111] Connection refused" in held.reason
    assert not held.auth


async def test_an_endpoint_that_does_not_speak_http(site: Site) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    held = await site.refusal(site.sink(token_url=url))
    assert re.search(r"the token endpoint (does not answer as an HTTP server|cannot be reached)", held.reason)
    server.close()


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert accepted(await site.sink().send(ENVELOPE, CONTENT))


# Rotation


async def test_a_replaced_refresh_token_outlives_the_process(site: Site, tmp_path: Path) -> None:
    site.endpoint.script.rotates = True
    kept = {"refresh_token": FIRST_REFRESH, "refresh_token_file": tmp_path / "refresh"}
    for number in range(3):
        sink = site.sink(**kept)
        assert accepted(await sink.send(ENVELOPE, CONTENT)), number
        await sink.close()
    assert [form["refresh_token"] for form in site.endpoint.requests] == [
        FIRST_REFRESH,
        *(f"refresh-token-number-{number}-{'b' * 20}" for number in (1, 2)),
    ]
    assert site.said("refresh_not_kept") == []
    assert not any(standing.unkept for standing in site.standings)


async def test_processes_that_share_the_file_do_not_use_a_token_twice(site: Site, tmp_path: Path) -> None:
    site.endpoint.script.rotates = True
    kept = {"refresh_token": FIRST_REFRESH, "refresh_token_file": tmp_path / "refresh"}
    sinks = [site.sink(**kept) for _ in range(4)]  # each with a token source of its own, as processes have
    transcripts = await asyncio.gather(*(sink.send(ENVELOPE, CONTENT) for sink in sinks))
    assert all(accepted(transcript) for transcript in transcripts)
    used = [form["refresh_token"] for form in site.endpoint.requests]
    assert len(used) == len(set(used)) == 4
    assert site.endpoint.asked_at_once_max == 1


async def test_without_a_file_it_is_warned_once(site: Site) -> None:
    site.endpoint.script.rotates = True
    sink = site.sink(refresh_token=FIRST_REFRESH)
    assert accepted(await sink.send(ENVELOPE, CONTENT))
    site.endpoint.live.clear()
    await close_sessions(sink, site)
    assert accepted(await sink.send(ENVELOPE, CONTENT))  # by the new refresh token, in memory
    (line,) = site.said("refresh_not_kept")
    assert line["log_level"] == "warning"
    assert "set refresh_token_file" in line["reason"]
    assert site.standings[-1].unkept


async def test_a_token_that_cannot_be_written_is_used_and_written_later(site: Site, tmp_path: Path) -> None:
    site.endpoint.script.rotates = True
    folder = tmp_path / "kept"
    folder.mkdir()
    sink = site.sink(refresh_token=FIRST_REFRESH, refresh_token_file=folder / "refresh")
    site.endpoint.script.held = threading.Event()
    sending = asyncio.create_task(sink.send(ENVELOPE, CONTENT))
    await until(lambda: site.endpoint.requests)
    (folder / "refresh").mkdir()  # a file cannot take its place
    site.endpoint.script.held.set()
    assert accepted(await sending)
    (line,) = site.said("refresh_not_saved")
    assert line["log_level"] == "error"
    (folder / "refresh").rmdir()
    source = sink._tokens
    assert source is not None
    source._renewal = asyncio.create_task(source._save())
    await until(lambda: site.said("refresh_saved"))
    assert json.loads((folder / "refresh").read_text())["refresh_token"] == site.endpoint.refresh_token


def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    oauth = {
        "token_url": "http://127.0.0.1:1/",
        "client_id": "c",
        "refresh_token": "r",
        "refresh_token_file": tmp_path / "no" / "file",
    }
    relay = RelaySection.model_validate({"host": "h", "username": "u", "oauth": oauth})
    with pytest.raises(ConfigError, match=r"relays\.main\.oauth\.refresh_token_file: .*cannot be locked"):
        SmtpSink("main", relay)


# The end of a grant


async def test_the_end_of_a_grant_is_told_in_days_and_warned_of(site: Site) -> None:
    site.endpoint.script.extra = {"refresh_token_expires_in": 10 * 86_400}
    sink = site.sink(refresh_token=FIRST_REFRESH)
    assert accepted(await sink.send(ENVELOPE, CONTENT))
    assert site.standings[-1].days_left == pytest.approx(10, abs=0.01)
    assert site.standings[-1].warns
    (line,) = site.said("oauth_grant_ends")
    assert (line["log_level"], line["days_left"]) == ("warning", 9)
    assert sink._tokens is not None
    sink._tokens._renew()
    await until(lambda: len(site.standings) == 2)
    assert len(site.said("oauth_grant_ends")) == 1  # again when another day is over


async def test_a_grant_that_each_renewal_puts_off_is_not_warned_of(site: Site) -> None:
    site.endpoint.script.rotates = True
    site.endpoint.script.extra = {"refresh_expires_in": 1800}
    assert accepted(await site.sink(refresh_token=FIRST_REFRESH).send(ENVELOPE, CONTENT))
    assert site.standings[-1].ends_at is not None
    assert site.said("oauth_grant_ends") == []


# TLS


@pytest.fixture
def authority(tmp_path: Path) -> tuple[trustme.CA, Path]:
    authority, path = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, path


def server_tls(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("host", "trusted", "words"),
    [
        ("127.0.0.1", True, ""),
        ("127.0.0.1", False, "certificate verify failed"),
        ("other.example", True, "certificate verify failed: IP address mismatch"),
    ],
)
async def test_the_token_endpoint_is_verified(
    site: Site, authority: tuple[trustme.CA, Path], host: str, trusted: bool, words: str
) -> None:
    endpoint = TokenServer(server_tls(authority[0], host))
    endpoint.live = site.endpoint.live
    endpoint.start()
    sink = site.sink(token_url=endpoint.url, ca_file=authority[1] if trusted else None)
    transcript = await sink.send(ENVELOPE, CONTENT)
    await asyncio.to_thread(endpoint.stop)
    if not words:
        assert accepted(transcript)
        return
    assert transcript.stopped is not None
    assert words in describe(transcript.stopped)
    assert endpoint.requests == []


async def close_sessions(sink: SmtpSink, site: Site) -> None:
    """Let the next mail open a session of its own."""
    while sink._idle:
        sink._idle.pop()[1].cut()
    await until(lambda: site.relay.open_now == 0)
