"""GreenMail: SMTP and IMAP (IDLE, MOVE, UIDPLUS) over mailboxes in memory.

A mailbox that gets mail before it has a user is created, with the address as its password. GreenMail takes mail
for anybody, answers 503 to a mail with an empty sender, and serves a re-parsed copy over IMAP: `localstack.relay`
stands before it for whoever needs a relay that behaves.
"""

import contextlib
import json
import os
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localstack.artifacts import class_path, java
from localstack.ports import HOST, free_ports
from localstack.server import Server

START_TIMEOUT_SECONDS = 30.0
ANSWER_TIMEOUT_SECONDS = 5.0

JVM_OPTIONS = (
    "-Xms32m",
    "-Xmx192m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)


class MailboxError(Exception):
    """GreenMail refused an order of its HTTP interface."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    address: str  # also the login
    password: str

    def __post_init__(self) -> None:
        if "@" not in self.address or set(self.address + self.password) & set(":, "):
            raise ValueError(
                f"mailbox {self.address!r}: want user@domain and a password, without ':' ',' or space"
            )


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where one GreenMail listens, and its few orders: add a mailbox, empty all of them."""

    smtp_port: int
    imap_port: int
    api_port: int
    host: str = HOST

    @classmethod
    def on_free_ports(cls, imap_port: int | None = None) -> "MailServer":
        smtp, imap, api = free_ports(3)
        return cls(smtp, imap_port or imap, api)

    def add(self, mailbox: Mailbox) -> None:
        """Create a mailbox; raises MailboxError if there is one of that address."""
        user = {"email": mailbox.address, "login": mailbox.address, "password": mailbox.password}
        self._order("/api/user", user)

    def remove(self, address: str) -> None:
        self._order(f"/api/user/{urllib.parse.quote(address)}", method="DELETE")

    def empty_all(self) -> None:
        """Delete every mail of every mailbox."""
        self._order("/api/mail/purge")

    def answers(self) -> bool:
        """Whether SMTP, IMAP and the HTTP interface all greet."""
        try:
            greetings = (_greeting(self.smtp_port), _greeting(self.imap_port))
            with urllib.request.urlopen(self._url("/api/service/readiness"), timeout=ANSWER_TIMEOUT_SECONDS):
                return greetings[0].startswith(b"220") and greetings[1].startswith(b"* OK")
        except OSError:
            return False

    def _url(self, path: str) -> str:
        return f"http://{self.host}:{self.api_port}{path}"

    def _order(self, path: str, body: dict[str, str] | None = None, *, method: str = "POST") -> None:
        request = urllib.request.Request(
            self._url(path),
            json.dumps(body or {}).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_SECONDS):
                pass
        except urllib.error.HTTPError as error:
            raise MailboxError(f"{method} {path}: {error.read().decode('utf-8', 'replace')}") from error


def launch(mail: MailServer, log: Path, mailboxes: Sequence[Mailbox] = ()) -> Server:
    """Start GreenMail with these mailboxes, without waiting for it."""
    settings = {
        "greenmail.smtp.hostname": HOST,
        "greenmail.smtp.port": mail.smtp_port,
        "greenmail.imap.hostname": HOST,
        "greenmail.imap.port": mail.imap_port,
        "greenmail.api.hostname": HOST,
        "greenmail.api.port": mail.api_port,
        "greenmail.users.login": "email",
        # GreenMail gives each of its servers one second to start; a busy machine may need more.
        "greenmail.startup.timeout": 15_000,
    }
    if mailboxes:
        users = (f"{box.address.replace('@', f':{box.password}@', 1)}" for box in mailboxes)
        settings["greenmail.users"] = ",".join(users)
    command = [
        str(java()),
        *JVM_OPTIONS,
        *(f"-D{key}={value}" for key, value in settings.items()),
        "-cp",
        os.pathsep.join(map(str, class_path("greenmail"))),
        "com.icegreen.greenmail.standalone.GreenMailStandaloneRunner",
    ]
    ports = (mail.smtp_port, mail.imap_port, mail.api_port)
    return Server("GreenMail", command, log, {"LANG": "C.UTF-8"}, ports=ports)


def wait_until_ready(server: Server, mail: MailServer) -> None:
    """Wait until all its services answer. Raises ServerFault."""
    server.wait_until(mail.answers, START_TIMEOUT_SECONDS)


def _greeting(port: int) -> bytes:
    with (
        socket.create_connection((HOST, port), ANSWER_TIMEOUT_SECONDS) as connection,
        contextlib.closing(connection.makefile("rb")) as lines,
    ):
        return lines.readline()
