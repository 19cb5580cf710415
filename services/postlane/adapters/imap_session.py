"""One IMAP connection on aioimaplib, the one place that imports it (GPL-3.0, an extra of its own; see the README on licences).

What aioimaplib 2.0.3 does wrong and what is done about it here and in imap_source:
- commands never end after the connection is lost: every command races against that loss and against a deadline;
- about 1,000 untagged lines in one read end in a RecursionError, which closes the connection: at most 100 UIDs are asked for at once, and what other
  clients cause is healed by the next session;
- capabilities announced at login are misread: they are asked for again;
- STARTTLS is missing: the configuration does not offer it.

After any MailSourceError the connection is closed.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aioimaplib import aioimaplib

from postlane.adapters.imap_lines import Line, backoff_seconds, has_exists, quote
from postlane.ports import MailSourceError

LOGOUT_SECONDS = 1.0  # politeness only
IDLE_GRACE_SECONDS = 10.0
SERVER_TEXT_MAX = 300

T = TypeVar("T")

# Its debug lines hold whole mails, and it formats them whether or not anybody listens.
logging.getLogger("aioimaplib").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class ImapAccount:
    """How to reach one mailbox. `tls` off sends everything readable."""

    host: str
    port: int
    tls: bool
    ca_file: Path | None
    username: str
    password: str
    command_timeout_seconds: float

    def __repr__(self) -> str:
        return f"ImapAccount({self.username!r} at {self.host}:{self.port})"


class ImapSession:
    """Connects, logs in and runs commands; each one ends, with an answer or a MailSourceError."""

    def __init__(self, account: ImapAccount) -> None:
        self._account = account
        self._client: aioimaplib.IMAP4 | None = None
        self._lost = asyncio.Event()

    @property
    def protocol(self) -> aioimaplib.IMAP4ClientProtocol:
        """What makes commands. Raises MailSourceError when there is no connection."""
        return self._imap.protocol

    @property
    def command_timeout_seconds(self) -> float:
        """The deadline of an ordinary command."""
        return self._account.command_timeout_seconds

    async def login(self) -> None:
        """Connect and log in; capabilities are known afterwards. Raises MailSourceError."""
        context = self._tls_context() if self._account.tls else None
        self._client = aioimaplib.IMAP4(
            self._account.host,
            self._account.port,
            timeout=self._account.command_timeout_seconds,
            conn_lost_cb=lambda _error: self._lost.set(),
            ssl_context=context,
        )
        await self.run("connecting", self._client.wait_hello_from_server())
        self._keep_alive()
        user, password = quote(self._account.username), self._account.password
        response = await self.run("LOGIN", self.protocol.login(user, password))
        if response.result != "OK":
            raise self.broken(f"LOGIN refused: {self.server_text(response)}", auth=True)
        await self.run("CAPABILITY", self.protocol.capability())

    def can(self, capability: str) -> bool:
        """Whether the server has announced this capability."""
        return capability in {name.upper() for name in self.protocol.capabilities}

    async def command(
        self, name: str, command: "Awaitable[aioimaplib.Response]", seconds: float | None = None
    ) -> list[Line]:
        """The lines of a command that must succeed. Raises MailSourceError."""
        response = await self.run(name, command, seconds)
        if response.result != "OK":
            raise self.broken(f"{name} refused: {self.server_text(response)}")
        lines: list[Line] = response.lines
        return lines

    async def run(self, name: str, awaited: Awaitable[T], seconds: float | None = None) -> T:
        """Wait until it ends, the connection is lost, or the deadline is over. Raises MailSourceError."""
        deadline = self._account.command_timeout_seconds if seconds is None else seconds
        running = asyncio.ensure_future(awaited)
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait({running, lost}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
        except (aioimaplib.AioImapException, OSError, ValueError, UnicodeError) as error:
            raise self.broken(f"{name} failed: {self._describe(error)}") from None
        finally:
            lost.cancel()
            running.cancel()
        if self._lost.is_set():
            raise self.broken(f"connection lost during {name}")
        raise self.broken(f"{name} was not answered within {deadline:g} s")

    async def idle(self, timeout_seconds: float) -> bool:
        """IDLE (RFC 2177) until the server speaks of mail (True) or the time is over. Raises MailSourceError."""
        pushed = self.protocol.idle_queue
        while not pushed.empty():
            pushed.get_nowait()
        await self.run("IDLE", self._imap.idle_start(timeout_seconds + IDLE_GRACE_SECONDS))
        try:
            changed = await self._change(timeout_seconds)
        finally:
            if not self._lost.is_set():
                self._imap.idle_done()
        pending = self.protocol.pending_sync_command
        if pending is not None:
            await self.run("IDLE", pending.wait())
        return changed

    async def sleep(self, timeout_seconds: float) -> None:
        """For servers without IDLE: wait, then NOOP, which keeps the session alive and proves that it is."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._lost.wait(), timeout_seconds)
        await self.command("NOOP", self.protocol.simple_command("NOOP"))

    async def close(self) -> None:
        """Log out politely, within a short deadline; may be called again."""
        if self._client is None:
            return
        if not self._lost.is_set() and self._client.get_state() in ("AUTH", "SELECTED"):
            with contextlib.suppress(Exception):  # the session ends either way
                await asyncio.wait_for(self._client.logout(), LOGOUT_SECONDS)
        self._drop()

    def broken(self, reason: str, *, auth: bool = False) -> MailSourceError:
        """Close the connection and make the error that tells why; nothing in it came from a mail or is secret."""
        self._drop()
        return MailSourceError(
            f"{self._where}: {reason}", auth=auth, retry_after_seconds=backoff_seconds(reason)
        )

    def server_text(self, response: aioimaplib.Response) -> str:
        """The server's own words at the end of a response, without the password that some echo."""
        lines = response.lines
        last = bytes(lines[-1]).decode("utf-8", "replace") if lines else ""
        return self._without_password(last)[:SERVER_TEXT_MAX]

    @property
    def _imap(self) -> aioimaplib.IMAP4:
        if self._client is None:
            raise MailSourceError(f"{self._where}: the session is not open")
        return self._client

    @property
    def _where(self) -> str:
        return f"{self._account.host}:{self._account.port}"

    def _tls_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._account.ca_file)
        except OSError as error:
            reason = f"ca_file {self._account.ca_file} cannot be read: {error.strerror or error}"
            raise MailSourceError(f"{self._where}: {reason}") from None

    def _keep_alive(self) -> None:
        """Let the system find dead peers as well; deadlines find them first."""
        transport = self.protocol.transport
        connection = transport.get_extra_info("socket") if transport is not None else None
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    async def _change(self, timeout_seconds: float) -> bool:
        """True when untagged lines speak of mail within the time. Raises MailSourceError when the connection is lost."""
        clock = asyncio.get_running_loop().time
        until = clock() + timeout_seconds
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            while (left := until - clock()) > 0:
                pushed = asyncio.ensure_future(self.protocol.idle_queue.get())
                await asyncio.wait({pushed, lost}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not pushed.done():
                    pushed.cancel()
                    break
                if has_exists(pushed.result()):
                    return True
        finally:
            lost.cancel()
        if self._lost.is_set():
            raise self.broken("connection lost during IDLE")
        return False

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._lost.set()
        if client is None:
            return
        client._client_task.cancel()  # noqa: SLF001 - the only way to end a connection that is being made
        if client.protocol is not None and client.protocol.transport is not None:
            client.protocol.transport.abort()

    def _describe(self, error: BaseException) -> str:
        match error:
            case ssl.SSLCertVerificationError():
                return f"the server's certificate is not trusted ({error.verify_message})"
            case aioimaplib.CommandTimeout() | TimeoutError():
                return "no answer in time"
            case ConnectionRefusedError():
                return "connection refused"
            case OSError():
                return error.strerror or str(error) or type(error).__name__
            case _:
                return self._without_password(f"{type(error).__name__}: {error}")[:SERVER_TEXT_MAX]

    def _without_password(self, text: str) -> str:
        return text.replace(self._account.password, "[redacted]") if self._account.password else text
