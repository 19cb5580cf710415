"""Looks at the servers themselves: mailboxes over IMAP, the desk's database, the operator's commands."""

import email
import email.policy
import email.utils
import imaplib
import json
import smtplib
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar

from localstack.greenmail import Mailbox, MailServer
from localstack.relay_client import RelayControl
from localstack.server import run

T = TypeVar("T")
POLL_SECONDS = 0.1
COMMAND_SECONDS = 60.0
NOTHING_FOUND = 4  # exit code of `postlane` (see its --help)


class NotSeen(AssertionError):
    """What the demo promised did not happen in time."""


def eventually(what: str, look: Callable[[], T | None], seconds: float = 30.0) -> T:
    """Look again and again until there is something to see. Raises NotSeen."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise NotSeen(f"{what}: not seen within {seconds:g} s")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class Person:
    """Somebody with a mailbox, who reads with IMAP and writes with SMTP."""

    mailbox: Mailbox
    server: MailServer
    relay: RelayControl

    @property
    def address(self) -> str:
        """Their mail address."""
        return self.mailbox.address

    def write(self, to: str, subject: str, text: str, answers: EmailMessage | None = None) -> None:
        """Send a mail through the relay, as an answer if `answers` is given."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.address, to, subject
        mail["Date"] = email.utils.localtime()
        mail["Message-ID"] = f"<{time.time_ns()}@{self.address.rpartition('@')[2]}>"
        if answers is not None:
            mail["In-Reply-To"] = answers["Message-ID"]
            mail["References"] = f"{answers.get('References', '')} {answers['Message-ID']}".strip()
        mail.set_content(text)
        with smtplib.SMTP(self.relay.host, self.relay.port) as smtp:
            if self.relay.user and self.relay.password:
                smtp.login(self.relay.user, self.relay.password)
            smtp.send_message(mail)

    def read(self) -> list[EmailMessage]:
        """All mails of the inbox, oldest first."""
        with imaplib.IMAP4(self.server.host, self.server.imap_port) as imap:
            imap.login(self.mailbox.address, self.mailbox.password)
            imap.select("INBOX", readonly=True)
            _, (numbers,) = imap.search(None, "ALL")
            mails = []
            for number in numbers.split():
                _, parts = imap.fetch(number, "(BODY.PEEK[])")
                raw = next(part[1] for part in parts if isinstance(part, tuple))
                mails.append(email.message_from_bytes(raw, policy=email.policy.default))
            return mails

    def received(self, subject: str) -> EmailMessage | None:
        """The first mail with this in its subject."""
        return next((mail for mail in self.read() if subject in str(mail["Subject"])), None)


@dataclass(frozen=True)
class Operator:
    """Somebody at the command line."""

    command: tuple[str, ...]

    def run(self, *arguments: str) -> str:
        """Run `postlane ...` and return what it printed. Raises NotSeen if it fails otherwise than by finding nothing."""
        done = run([*self.command, *arguments], COMMAND_SECONDS)
        if done.returncode not in {0, NOTHING_FOUND}:
            raise NotSeen(
                f"postlane {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    def events(self, topic: str) -> list[dict[str, Any]]:
        """The newest records of a topic."""
        return [json.loads(line) for line in self.run("tail", topic, "--json").splitlines()]

    def mails(self, ticket: str) -> list[dict[str, Any]]:
        """What became of each mail of a ticket."""
        document = json.loads(self.run("status", ticket, "--as", "ticket", "--json") or '{"mails": []}')
        mails: list[dict[str, Any]] = document["mails"]
        return mails

    def dead(self, ticket: str) -> list[dict[str, Any]]:
        """The open dead letters of a ticket."""
        dead: list[dict[str, Any]] = json.loads(self.run("dlq", "list", "--ticket", ticket, "--json") or "[]")
        return dead


@dataclass(frozen=True)
class DeskBook:
    """The ticket desk's database, read only."""

    path: Path

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a query; none while the desk has not made its tables."""
        if not self.path.exists():
            return []
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as book:
            try:
                return book.execute(query, values).fetchall()
            except sqlite3.OperationalError:
                return []

    def ticket_of(self, subject: str) -> str | None:
        """The id of the ticket with this subject."""
        rows = self.rows("select id from tickets where subject = ?", subject)
        return None if not rows else str(rows[0][0])

    def texts(self, ticket: str) -> list[str]:
        """What was written in a ticket, in order."""
        return [
            str(text)
            for (text,) in self.rows("select text from messages where ticket = ? order by rowid", ticket)
        ]
