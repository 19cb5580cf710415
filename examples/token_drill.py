"""Servers for a drill of docs/operations.md: a token endpoint, and an IMAP server that wants its tokens in place of passwords.

    python examples/token_drill.py                          until Ctrl-C
    curl -sX DELETE localhost:2610/grant                    the mailbox's owner takes the grant back: every token and session ends
    curl -sX PUT localhost:2610/grant -d REFRESH-TOKEN      the owner consents anew

The IMAP server logs in at the first configured mailbox by its password, and from then on only passes on what both sides say. The configuration is found as
`postlane` finds it. For test servers without TLS.
"""

import argparse
import base64
import contextlib
import json
import re
import secrets
import socket
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from urllib.parse import parse_qs

from postlane.config.mailbox_section import MailboxSection
from postlane.config.settings import load_settings

HOST = "127.0.0.1"
LIFETIME_SECONDS = 600
READ_BYTES = 65536
REFUSAL = base64.b64encode(b'{"status": "400", "schemes": "Bearer"}')  # what Google and Microsoft say first


@dataclass
class Grant:
    """What the mailbox's owner has allowed; `sessions` are those that its tokens opened."""

    refresh_token: str | None = "old"
    tokens: set[str] = field(default_factory=set)
    sessions: set[socket.socket] = field(default_factory=set)

    def revoke(self) -> None:
        """End all that came of it."""
        self.refresh_token = None
        self.tokens.clear()
        for session in list(self.sessions):
            with contextlib.suppress(OSError):
                session.shutdown(socket.SHUT_RDWR)


class TokenEndpoint(ThreadingHTTPServer):
    """RFC 6749, section 6, for one client."""

    daemon_threads = True

    def __init__(self, port: int, grant: Grant) -> None:
        super().__init__((HOST, port), TokenRequest)
        self.grant = grant


class TokenRequest(BaseHTTPRequestHandler):
    server: TokenEndpoint

    def do_POST(self) -> None:
        """A refresh token for an access token."""
        grant, form = self.server.grant, parse_qs(self._body())
        if grant.refresh_token is None or form.get("refresh_token") != [grant.refresh_token]:
            self._answer(400, {"error": "invalid_grant", "error_description": "The grant was revoked."})
            return
        token = secrets.token_urlsafe(32)
        grant.tokens.add(token)
        self._answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME_SECONDS})

    def do_PUT(self) -> None:
        """A new grant."""
        self.server.grant.refresh_token = self._body().strip()
        self._answer(200, {"granted": True})

    def do_DELETE(self) -> None:
        """None any more."""
        self.server.grant.revoke()
        self._answer(200, {"granted": False})

    def _body(self) -> str:
        return self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()

    def _answer(self, status: int, document: dict[str, object]) -> None:
        body = json.dumps(document).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the standard library)
        """Say nothing."""


class TokenImap(socketserver.ThreadingTCPServer):
    """Stands before the mail server of `mailbox`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, grant: Grant, mailbox: MailboxSection) -> None:
        super().__init__((HOST, port), ImapSession)
        self.grant = grant
        self.mailbox = mailbox


class ImapSession(socketserver.StreamRequestHandler):
    server: TokenImap

    def handle(self) -> None:
        """Until the client is logged in, then until either side leaves."""
        self.wfile.write(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n")
        while line := self.rfile.readline():
            tag, _, command = line.decode().strip().partition(" ")
            words = command.split(" ")
            if words[0].upper() == "CAPABILITY":
                self._say(f"* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n{tag} OK done")
            elif words[0].upper() == "LOGOUT":
                self._say(f"* BYE\r\n{tag} OK done")
                return
            elif [word.upper() for word in words[:2]] != ["AUTHENTICATE", "XOAUTH2"] or len(words) < 3:
                self._say(f"{tag} NO only AUTHENTICATE XOAUTH2 with its token at once is known here")
            elif _token(words[2]) in self.server.grant.tokens:
                self._pass_on(tag)
                return
            else:
                self.wfile.write(b"+ " + REFUSAL + b"\r\n")
                self.rfile.readline()
                self._say(f"{tag} NO [AUTHENTICATIONFAILED] Invalid credentials")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _pass_on(self, tag: str) -> None:
        mailbox, sessions = self.server.mailbox, self.server.grant.sessions
        with socket.create_connection((mailbox.host, mailbox.port)) as upstream:
            answers = upstream.makefile("rb")
            answers.readline()
            assert mailbox.password is not None
            password = mailbox.password.get_secret_value()
            upstream.sendall(f'x LOGIN "{mailbox.username}" "{password}"\r\n'.encode())
            while not (answer := answers.readline()).startswith(b"x "):
                if not answer:
                    return
            self._say(f"{tag} {answer.decode().split(' ')[1]} logged in")
            sessions.add(self.connection)
            threading.Thread(target=_copy, args=(answers, self.connection), daemon=True).start()
            _copy(self.rfile, upstream)
            sessions.discard(self.connection)


def _copy(source: BufferedIOBase, target: socket.socket) -> None:
    """Until one of them has ended; then the other does, too."""
    with contextlib.suppress(OSError, ValueError):
        while data := source.read1(READ_BYTES):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _token(initial: str) -> str:
    """Of `user=...^Aauth=Bearer ...^A^A`."""
    found = re.search(rb"\x01auth=Bearer ([^\x01]*)\x01", base64.b64decode(initial))
    return found[1].decode() if found else ""


def main() -> None:
    """Both, until Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=2610, help="of the token endpoint")
    parser.add_argument("--imap-port", type=int, default=2611)
    options = parser.parse_args()
    grant, mailbox = Grant(), next(iter(load_settings().mailboxes.values()))
    with (
        TokenEndpoint(options.port, grant) as endpoint,
        TokenImap(options.imap_port, grant, mailbox) as imap,
    ):
        threading.Thread(target=endpoint.serve_forever, daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            imap.serve_forever()


if __name__ == "__main__":
    main()
