"""Our own client logs in to a real Dovecot by access tokens of a real token endpoint, which Dovecot asks about each of them."""

import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fakes.dovecot import Dovecot, DovecotOptions, run_dovecot
from fakes.token_server import CLIENT_ID, CLIENT_SECRET, TokenServer
from postlane.adapters.imap_connector import ImapConnector
from postlane.config.mailbox_section import MailboxSection
from postlane.config.sections import InboundSection
from postlane.ports import MailSourceError, MailTrouble

USER = "support@desk.test"

OAUTH_SETTINGS = """
introspection_mode = get
introspection_url = http://127.0.0.1:{port}/?token=
username_attribute = username
active_attribute = active
active_value = true
"""


class Introspection(ThreadingHTTPServer):
    """Says of a token whether it lives, as RFC 7662 has it."""

    def __init__(self, live: set[str]) -> None:
        super().__init__(("127.0.0.1", 0), IntrospectionHandler)
        self.live = live


class IntrospectionHandler(BaseHTTPRequestHandler):
    server: Introspection

    def do_GET(self) -> None:
        active = parse_qs(urlsplit(self.path).query).get("token", [""])[0] in self.server.live
        body = json.dumps({"active": "true" if active else "false", "username": USER}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name in the standard library)
        """Say nothing."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[TokenServer]:
    endpoint = TokenServer()
    endpoint.start()
    yield endpoint
    endpoint.stop()


@pytest.fixture(scope="module")
def server(
    endpoint: TokenServer,
    dovecot_server: Dovecot,
    stack_folder: Path,
) -> Iterator[Dovecot]:
    del dovecot_server  # skips where there is none
    introspection = Introspection(endpoint.live)
    thread = threading.Thread(target=introspection.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    settings = OAUTH_SETTINGS.format(port=introspection.server_address[1])
    options = DovecotOptions(
        files={"oauth2.conf": settings},
        extra=(
            "auth_mechanisms = plain xoauth2 oauthbearer",
            "passdb {\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {folder}/oauth2.conf\n}",
        ),
    )
    with run_dovecot(stack_folder / "oauth-dovecot.log", options) as dovecot:
        yield dovecot
    introspection.shutdown()
    introspection.server_close()
    thread.join()


@pytest.fixture
async def connector() -> AsyncIterator[ImapConnector]:
    connector = ImapConnector(InboundSection())
    yield connector
    connector.close()


def mailbox(server: Dovecot, endpoint: TokenServer, **oauth: Any) -> MailboxSection:
    oauth = {"token_url": endpoint.url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET} | oauth
    keys = {"host": server.host, "port": server.port, "tls": "none", "username": USER, "oauth": oauth}
    return MailboxSection.model_validate(keys)


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
async def test_dovecot_lets_a_living_token_in_and_a_dead_one_is_replaced(
    server: Dovecot, endpoint: TokenServer, connector: ImapConnector, mechanism: str
) -> None:
    section = mailbox(server, endpoint, mechanism=mechanism)
    asked = len(endpoint.requests)
    for dead in (False, True):
        if dead:
            endpoint.live.clear()
        source = connector(section)
        await source.open("INBOX")
        await source.close()
    assert len(endpoint.requests) == asked + 2


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
async def test_dovecot_refuses_a_token_of_nobody_and_says_so(
    server: Dovecot, endpoint: TokenServer, connector: ImapConnector, mechanism: str
) -> None:
    class Forgetful(set[str]):
        def __contains__(self, _: object) -> bool:
            return False

    living, endpoint.live = endpoint.live, Forgetful()
    try:
        with pytest.raises(MailSourceError) as refused:
            await connector(mailbox(server, endpoint, mechanism=mechanism)).open("INBOX")
    finally:
        endpoint.live = living
    assert refused.value.trouble is MailTrouble.AUTH
    assert "status" in str(refused.value)  # what its error challenge said
