"""How our own client logs in: passwords and tokens as the server wants them, and never in clear."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from structlog.typing import EventDict

from fakes.bearer_guard import CHALLENGE, ERROR_ANSWERS, BearerGuard
from fakes.scripted_imap import Dialog, ScriptedImap, ok
from fakes.token_server import CLIENT_ID, CLIENT_SECRET, FIRST_REFRESH, TokenServer
from postlane.adapters.imap_account import ImapAccount
from postlane.adapters.imap_connector import ImapConnector
from postlane.adapters.imap_source import ImapSource
from postlane.config.mailbox_section import MailboxSection
from postlane.config.sections import InboundSection, Tls
from postlane.core.imap.login import may_send_secret
from postlane.ports import MailSourceError, MailTrouble

USER = "support@example.com"
PASSWORD = "a secret password"
TEST_SECONDS = 30.0


@dataclass(frozen=True)
class Authority:
    """Vouches for 127.0.0.1."""

    ca_file: Path
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    issuer = trustme.CA()
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    issuer.cert_pem.write_to_path(str(ca_file))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("127.0.0.1").configure_cert(server)
    return Authority(ca_file, server)


@pytest.fixture
async def server(authority: Authority) -> AsyncIterator[ScriptedImap]:
    async with ScriptedImap(authority.server).serve() as server:
        server.rules["STARTTLS"] = lambda tag, _: ok(tag)
        yield server


def offers(server: ScriptedImap, words: str) -> None:
    server.rules["CAPABILITY"] = lambda tag, _: f"* CAPABILITY IMAP4rev1 {words}\r\n".encode() + ok(tag)


def source(server: ScriptedImap, **keys: Any) -> ImapSource:
    keys = {"username": USER, "password": PASSWORD, "tls": Tls.NONE} | keys
    return ImapSource(ImapAccount(host="127.0.0.1", port=server.port, command_timeout_seconds=5.0, **keys))


async def logged_in(mailbox: ImapSource) -> None:
    async with asyncio.timeout(TEST_SECONDS):
        await mailbox.open("INBOX")
        await mailbox.close()


async def refused(mailbox: ImapSource) -> MailSourceError:
    async with asyncio.timeout(TEST_SECONDS):
        with pytest.raises(MailSourceError) as failed:
            await mailbox.open("INBOX")
    assert PASSWORD not in str(failed.value)
    return failed.value


def plain(user: str = USER, password: str = PASSWORD) -> str:
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


# Passwords


async def test_plain_goes_with_the_command_where_that_is_allowed(server: ScriptedImap) -> None:
    offers(server, "AUTH=PLAIN SASL-IR")
    server.rules["AUTHENTICATE"] = lambda tag, _: ok(tag)
    await logged_in(source(server, password="pässwörd"))
    assert f"AUTHENTICATE PLAIN {plain(password='pässwörd')}" in server.commands


def asks_first(tag: str, _: str) -> Dialog:
    yield b"+ \r\n"
    yield ok(tag)


async def test_plain_waits_where_it_is_not(server: ScriptedImap) -> None:
    offers(server, "AUTH=PLAIN")
    server.rules["AUTHENTICATE"] = asks_first
    await logged_in(source(server))
    assert "AUTHENTICATE PLAIN" in server.commands
    assert server.lines == [plain()]


@pytest.mark.parametrize(
    ("password", "line"),
    [
        ('qu"ote\\', 'LOGIN "support@example.com" "qu\\"ote\\\\"'),
        (" b{3}", 'LOGIN "support@example.com" " b{3}"'),
    ],
)
async def test_login_quotes_what_can_be_quoted(server: ScriptedImap, password: str, line: str) -> None:
    await logged_in(source(server, password=password))
    assert line in server.commands


async def test_login_sends_a_literal_for_the_rest(server: ScriptedImap) -> None:
    def dialog(tag: str, _: str) -> Dialog:
        yield b"+ go on\r\n"
        yield ok(tag)

    server.rules["LOGIN"] = dialog
    await logged_in(source(server, password="pässwörd"))
    assert 'LOGIN "support@example.com" {10}' in server.commands
    assert server.lines == ["pässwörd"]


async def test_capabilities_that_come_with_the_login_are_not_asked_for_again(server: ScriptedImap) -> None:
    server.greeting = b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n"
    server.rules["AUTHENTICATE"] = lambda tag, _: f"{tag} OK [CAPABILITY IMAP4rev1 UIDPLUS] in\r\n".encode()
    mailbox = source(server)
    await mailbox.open("INBOX")
    assert mailbox._client.can("UIDPLUS")
    assert not mailbox._client.can("IDLE")
    assert "CAPABILITY" not in server.commands
    await mailbox.close()


async def test_a_server_that_disables_login_gets_no_password(server: ScriptedImap) -> None:
    offers(server, "LOGINDISABLED STARTTLS")
    error = await refused(source(server))
    assert error.trouble is MailTrouble.AUTH
    assert "it may want TLS" in str(error)
    assert not any("LOGIN" in command for command in server.commands)


async def test_endless_questions_are_cut_off(server: ScriptedImap) -> None:
    def asks(_tag: str, _: str) -> Dialog:
        while True:
            yield b"+ who?\r\n"

    offers(server, "AUTH=PLAIN SASL-IR")
    server.rules["AUTHENTICATE"] = asks
    assert "asks without end" in str(await refused(source(server)))


async def test_a_server_that_has_let_us_in_already_is_not_logged_in_to(server: ScriptedImap) -> None:
    server.greeting = b"* PREAUTH welcome\r\n"
    await logged_in(source(server))
    assert not any("LOGIN" in command for command in server.commands)


async def test_utf_8_is_used_once_the_server_confirms_it(server: ScriptedImap) -> None:
    offers(server, "ENABLE UTF8=ACCEPT")
    server.rules["ENABLE"] = lambda tag, _: b"* ENABLED UTF8=ACCEPT\r\n" + ok(tag)
    mailbox = source(server)
    await mailbox.open("Büro")
    assert 'SELECT "Büro"' in server.commands
    await mailbox.close()


# TLS


async def test_starttls_comes_before_the_password_and_capabilities_are_asked_again(
    server: ScriptedImap, authority: Authority
) -> None:
    offers(server, "STARTTLS")
    await logged_in(source(server, tls=Tls.STARTTLS, ca_file=authority.ca_file))
    words = [command.split()[0] for command in server.commands]
    assert words[:5] == ["CAPABILITY", "STARTTLS", "CAPABILITY", "LOGIN", "CAPABILITY"]


@pytest.mark.parametrize(
    ("greeting", "offered", "words"),
    [
        (b"* OK hi\r\n", "UIDPLUS", "the server offers no STARTTLS"),
        (b"* PREAUTH hi\r\n", "STARTTLS", "greets with PREAUTH"),
    ],
)
async def test_nothing_is_said_without_the_tls_that_was_demanded(
    server: ScriptedImap, greeting: bytes, offered: str, words: str
) -> None:
    server.greeting = greeting
    offers(server, offered)
    assert words in str(await refused(source(server, tls=Tls.STARTTLS)))
    assert not any("LOGIN" in command for command in server.commands)


@pytest.mark.parametrize(
    "injected", [b"* CAPABILITY AUTH=PLAIN\r\n", b"* CAPAB", b"P3 OK LOGIN done\r\n", b"+ go on\r\n"]
)
async def test_whoever_sits_in_between_says_nothing_in_the_servers_name(
    server: ScriptedImap, authority: Authority, injected: bytes
) -> None:
    offers(server, "STARTTLS")
    server.rules["STARTTLS"] = lambda tag, _: ok(tag) + injected
    error = await refused(source(server, tls=Tls.STARTTLS, ca_file=authority.ca_file))
    assert "says something in clear behind" in str(error)
    assert not any("LOGIN" in command for command in server.commands)


async def test_a_certificate_of_nobody_we_know_is_refused(server: ScriptedImap) -> None:
    offers(server, "STARTTLS")
    error = await refused(source(server, tls=Tls.STARTTLS))
    assert error.trouble is MailTrouble.TLS
    assert "certificate is not trusted" in str(error)


async def test_another_machine_gets_nothing_in_clear(
    server: ScriptedImap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postlane.adapters.imap_wire.ImapWire.peer", "192.0.2.1")
    error = await refused(source(server))
    assert error.trouble is MailTrouble.TLS
    assert "allow_plaintext" in str(error)
    assert not any("LOGIN" in command for command in server.commands)
    await logged_in(source(server, allow_plaintext=True))
    assert not may_send_secret("192.0.2.1", encrypted=False, allow_plaintext=False)


# Access tokens


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenServer]:
    endpoint = TokenServer()
    endpoint.start()
    yield endpoint
    await asyncio.to_thread(endpoint.stop)


class Site:
    """A server that checks tokens, an endpoint that issues them, and a mailbox between them."""

    def __init__(self, server: ScriptedImap, endpoint: TokenServer, lines: list[EventDict]) -> None:
        self.server = server
        self.endpoint = endpoint
        self.lines = lines
        self.guard = BearerGuard(USER, endpoint.live)
        self.connector: ImapConnector | None = None
        server.rules["AUTHENTICATE"] = self.authenticate
        self.offer("AUTH=XOAUTH2 AUTH=OAUTHBEARER SASL-IR")

    def offer(self, words: str) -> None:
        offers(self.server, words)

    def authenticate(self, tag: str, command: str) -> Dialog:
        _, mechanism, *initial = command.split()
        shown = initial[0] if initial else (yield b"+ \r\n")
        if self.guard.lets_in(mechanism, shown):
            yield ok(tag)
            return
        answer = yield f"+ {CHALLENGE}\r\n".encode()
        self.guard.answered.append((mechanism, answer))
        yield f"{tag} NO AUTHENTICATE failed for {shown}\r\n".encode()

    def mailbox(self, **oauth: Any) -> ImapSource:
        section = {"token_url": self.endpoint.url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        keys = {"host": "127.0.0.1", "port": self.server.port, "tls": "none", "username": USER}
        mailbox = MailboxSection.model_validate(keys | {"oauth": section | oauth})
        if self.connector is None:
            self.connector = ImapConnector(InboundSection(command_timeout_seconds=5.0), {"support": mailbox})
        return self.connector(mailbox)

    def secrets(self) -> set[str]:
        return {token for _, token in self.guard.tried} | self.endpoint.live | {CLIENT_SECRET, FIRST_REFRESH}


@pytest.fixture
async def site(server: ScriptedImap, endpoint: TokenServer, lines: list[EventDict]) -> AsyncIterator[Site]:
    site = Site(server, endpoint, lines)
    yield site
    if site.connector is not None:
        site.connector.close()
    assert not [secret for secret in site.secrets() if secret in str(lines)]


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("extension", ["SASL-IR", ""])
@pytest.mark.parametrize("refresh_token", [None, FIRST_REFRESH])
async def test_tokens_let_in_by_either_mechanism_and_grant(
    site: Site, mechanism: str, extension: str, refresh_token: str | None
) -> None:
    site.offer(f"AUTH={mechanism} {extension}")
    await logged_in(site.mailbox(refresh_token=refresh_token))
    await logged_in(site.mailbox(refresh_token=refresh_token))
    assert [login for login, _ in site.guard.tried] == [mechanism] * 2
    assert len(site.endpoint.requests) == 1  # one token for all sessions


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
async def test_a_refused_token_is_answered_rightly_and_replaced_once(site: Site, mechanism: str) -> None:
    await logged_in(site.mailbox(mechanism=mechanism))
    site.endpoint.live.clear()
    await logged_in(site.mailbox(mechanism=mechanism))
    assert site.guard.answered == [(mechanism.upper(), ERROR_ANSWERS[mechanism.upper()])]
    assert len(site.endpoint.requests) == 2


async def test_an_account_without_the_right_is_a_named_error(site: Site) -> None:
    site.guard = BearerGuard("somebody-else", site.endpoint.live)
    error = await refused(site.mailbox())
    assert (error.trouble, error.auth) == (MailTrouble.AUTH, True)
    assert "status invalid_token, scope mail" in str(error)
    assert not [secret for secret in site.secrets() if secret in str(error)]


async def test_an_expired_grant_is_named_alarmed_and_healed(site: Site) -> None:
    site.endpoint.script.error = "invalid_grant"
    error = await refused(site.mailbox(refresh_token=FIRST_REFRESH))
    assert (error.trouble, error.auth) == (MailTrouble.GRANT, True)
    assert "invalid_grant" in str(error)
    assert [line for line in site.lines if line["event"] == "oauth_broken" and line["mailbox"] == "support"]
    assert site.server.sessions == 0  # the mail server is left alone meanwhile


async def test_an_endpoint_that_is_away_is_no_matter_for_a_person(site: Site) -> None:
    site.endpoint.script.raw = (503, "text/html", b"<html>")
    error = await refused(site.mailbox())
    assert (error.trouble, error.auth) == (MailTrouble.TOKEN, False)


async def test_a_throttled_login_asks_for_no_other_token(site: Site) -> None:
    site.server.rules["AUTHENTICATE"] = lambda tag, _: (
        f"{tag} NO Request is throttled. Suggested Backoff Time: 7000 milliseconds\r\n".encode()
    )
    error = await refused(site.mailbox())
    assert (error.trouble, error.retry_after_seconds) == (MailTrouble.LIMIT, 7.0)
    assert len(site.endpoint.requests) == 1


async def test_a_file_that_cannot_be_used_is_named(site: Site, tmp_path: Path) -> None:
    mailbox = site.mailbox(ca_file=str(tmp_path / "no-such.pem"))
    assert "mailboxes.support.oauth.ca_file" in str(await refused(mailbox))


async def test_a_port_that_waits_for_tls_is_told_as_such(server: ScriptedImap) -> None:
    server.greeting = b""
    silent = ImapAccount(
        host="127.0.0.1", port=server.port, username=USER, tls=Tls.STARTTLS, command_timeout_seconds=0.2
    )
    error = await refused(ImapSource(silent))
    assert "the server has not greeted within 0.2 s" in str(error)
    assert 'a port wants TLS from the start: check port and tls = "implicit"' in str(error)
