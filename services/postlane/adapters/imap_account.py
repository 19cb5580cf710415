"""What an IMAP session needs to know of an account, and the cap on how many of them there are at once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from postlane.config.sections import Tls
from postlane.ports import MailSourceError, MailTrouble

ANSWER_BYTES_MAX = 128 * 2**20  # to one command, where nothing else is said
COMMAND_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapAccount:
    """How to reach one mailbox. `allow_plaintext`: without TLS the login goes to other machines, too; else only to this one.

    `answer_bytes_max`: what one command's answer may hold; a server that sends more is cut off. `mechanism` is for access tokens.
    """

    host: str
    port: int
    username: str
    password: str = field(default="", repr=False)
    tls: Tls = Tls.IMPLICIT
    ca_file: Path | None = None
    allow_plaintext: bool = False
    mechanism: str = "auto"
    command_timeout_seconds: float = COMMAND_SECONDS
    answer_bytes_max: int = ANSWER_BYTES_MAX

    @property
    def place(self) -> str:
        """The server, for people."""
        return f"{self.host}:{self.port}"


class SessionSlots:
    """At most so many sessions at one account at a time, in this process: providers cut off whoever has more."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, int, str], asyncio.Semaphore] = {}

    async def take(self, account: ImapAccount, connections: int) -> Callable[[], None]:
        """Wait for a slot, no longer than for a command; call what is returned once to give it back. Raises MailSourceError."""
        key = (account.host, account.port, account.username)
        slots = self._slots.setdefault(key, asyncio.Semaphore(connections))
        try:
            async with asyncio.timeout(account.command_timeout_seconds):
                await slots.acquire()
        except TimeoutError:
            words = f"{account.place}: all {connections} sessions of this account are in use; raise connections, or poll fewer folders"
            raise MailSourceError(words, trouble=MailTrouble.LIMIT) from None
        return slots.release
