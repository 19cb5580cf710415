"""The other IMAP client, on aioimaplib (GPL-3.0, to be installed by whoever wants it); docs/decisions/0020-imap-client.md says why.

What aioimaplib 2.0.3 does wrong and what is done about it:
- commands never end after the connection is lost: every command races against that loss and against a deadline;
- about 1,000 untagged lines in one read end in a RecursionError, which closes the connection: at most 100 UIDs are asked for at once, and what other
  clients cause is healed by the next session;
- capabilities announced at login are misread: they are asked for again;
- STARTTLS is missing, and access tokens are not wired: the configuration refuses them for this client;
- an idle session wakes up only for lines during IDLE: what is told beside another command is found by the next poll.

After any MailSourceError the connection is closed.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from aioimaplib import aioimaplib

from postlane.adapters.aioimaplib_lines import Line, has_exists, parse_fetch, parse_search, parse_select
from postlane.adapters.imap_account import ImapAccount
from postlane.adapters.imap_exchange import FETCH_DEADLINE_FACTOR
from postlane.adapters.imap_wire import describe_fault, trusted_tls
from postlane.config.sections import Tls
from postlane.config.settings import ConfigError
from postlane.core.imap.arguments import folder_name, quote, uid_set
from postlane.core.imap.facts import FetchedItem, SelectedFolder
from postlane.core.imap.refusals import read_refusal
from postlane.core.imap.responses import Status, read_response
from postlane.core.imap.stream import ImapSyntaxError
from postlane.core.secrecy import Secrets
from postlane.ports import MailSourceError, MailTrouble

LOGOUT_SECONDS = 1.0  # politeness only
IDLE_GRACE_SECONDS = 10.0
UIDS_PER_COMMAND_MAX = 100  # three lines each, well below the limit of about 900 in one read

T = TypeVar("T")

# Its debug lines hold whole mails, and it formats them whether or not anybody listens.
logging.getLogger("aioimaplib").setLevel(logging.WARNING)


class AioimaplibSession:
    """See imap_client.ImapClient."""

    def __init__(self, account: ImapAccount) -> None:
        self._account = account
        self._secrets = Secrets(account.password)
        self._client: aioimaplib.IMAP4 | None = None
        self._lost = asyncio.Event()

    @property
    def protocol(self) -> aioimaplib.IMAP4ClientProtocol:
        """What makes commands. Raises MailSourceError when there is no connection."""
        return self._imap.protocol

    @property
    def uids_per_command_max(self) -> int:
        """See ImapClient.uids_per_command_max."""
        return UIDS_PER_COMMAND_MAX

    async def log_in(self) -> None:
        """See ImapClient.log_in."""
        account = self._account
        try:
            tls = trusted_tls(account.tls, account.ca_file)
            user = quote(account.username)
        except (ConfigError, ValueError) as error:
            raise self.broken(str(error), trouble=MailTrouble.TLS) from None
        self._client = aioimaplib.IMAP4(
            account.host,
            account.port,
            timeout=account.command_timeout_seconds,
            conn_lost_cb=lambda _error: self._lost.set(),
            ssl_context=tls if account.tls is Tls.IMPLICIT else None,
        )
        await self._run("connecting", self._client.wait_hello_from_server())
        self._keep_alive()
        said = _status(await self._run("LOGIN", self.protocol.login(user, account.password)))
        if said.word != "OK":
            raise self._refused("LOGIN", said, at_login=True)
        await self._run("CAPABILITY", self.protocol.capability())

    def can(self, capability: str) -> bool:
        """See ImapClient.can."""
        return capability in {name.upper() for name in self.protocol.capabilities}

    async def select(self, folder: str) -> SelectedFolder:
        """See ImapClient.select."""
        name = await self.folder_argument(folder)
        return parse_select(await self._command("SELECT", self.protocol.select(name)))

    async def search(self, criteria: str) -> list[int]:
        """See ImapClient.search; NOOP lets the server look for what has come, because news beside an answer is not seen here."""
        await self._command("NOOP", self.protocol.simple_command("NOOP"))
        search = self.protocol.search(criteria, charset=None, by_uid=True)
        return parse_search(await self._command("UID SEARCH", search))

    async def fetch(self, uids: Sequence[int], what: str) -> list[FetchedItem]:
        """See ImapClient.fetch."""
        seconds = self._account.command_timeout_seconds
        # The client's own time-out starts anew with every line and literal: it ends a fetch that stands still.
        fetch = self.protocol.fetch(uid_set(uids), what, by_uid=True, timeout=seconds)
        return parse_fetch(await self._command("UID FETCH", fetch, seconds * FETCH_DEADLINE_FACTOR))

    async def execute(self, name: str, arguments: str) -> Status:
        """See ImapClient.execute."""
        protocol, words = self.protocol, name.split()
        prefix = words[0] if len(words) > 1 else None
        command = aioimaplib.Command(words[-1], protocol.new_tag(), arguments, prefix=prefix)
        return _status(await self._run(name, protocol.execute(command)))

    async def folder_argument(self, folder: str) -> str:
        """See ImapClient.folder_argument; names are the server's own."""
        try:
            return folder_name(folder)
        except ValueError as error:
            raise self.broken(f"folder {folder!r}: {error}", trouble=MailTrouble.REFUSED) from None

    async def _command(
        self, name: str, command: "Awaitable[aioimaplib.Response]", seconds: float | None = None
    ) -> list[Line]:
        response = await self._run(name, command, seconds)
        if response.result != "OK":
            raise self.refused(name, _status(response))
        lines: list[Line] = response.lines
        return lines

    async def _run(self, name: str, awaited: Awaitable[T], seconds: float | None = None) -> T:
        """Wait until it ends, the connection is lost, or the deadline is over. Raises MailSourceError."""
        deadline = self._account.command_timeout_seconds if seconds is None else seconds
        running = asyncio.ensure_future(awaited)
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait({running, lost}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
        except (aioimaplib.AioImapException, OSError, ValueError, UnicodeError) as error:
            raise self.broken(f"{name} failed: {_describe(error)}") from None
        finally:
            lost.cancel()
            running.cancel()
        if self._lost.is_set():
            raise self.broken(f"connection lost during {name}")
        raise self.broken(f"{name} was not answered within {deadline:g} s")

    @property
    def has_news(self) -> bool:
        """See ImapClient.has_news."""
        return False

    async def idle(self, timeout_seconds: float) -> bool | None:
        """See ImapClient.idle."""
        pushed = self.protocol.idle_queue
        while not pushed.empty():
            pushed.get_nowait()
        await self._run("IDLE", self._imap.idle_start(timeout_seconds + IDLE_GRACE_SECONDS))
        try:
            changed = await self._change(timeout_seconds)
        finally:
            if not self._lost.is_set():
                self._imap.idle_done()
        pending = self.protocol.pending_sync_command
        if pending is not None:
            await self._run("IDLE", pending.wait())
        return changed

    async def sleep(self, timeout_seconds: float) -> bool:
        """See ImapClient.sleep."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._lost.wait(), timeout_seconds)
        await self._command("NOOP", self.protocol.simple_command("NOOP"))
        return False

    async def close(self) -> None:
        """Log out politely, within a short deadline; may be called again."""
        if self._client is None:
            return
        if not self._lost.is_set() and self._client.get_state() in ("AUTH", "SELECTED"):
            with contextlib.suppress(Exception):  # the session ends either way
                await asyncio.wait_for(self._client.logout(), LOGOUT_SECONDS)
        self._drop()

    def refused(self, name: str, said: Status) -> MailSourceError:
        """See ImapClient.refused."""
        return self._refused(name, said)

    def broken(
        self,
        reason: str,
        *,
        trouble: MailTrouble = MailTrouble.CONNECTION,
        retry_after_seconds: float | None = None,
    ) -> MailSourceError:
        """See ImapClient.broken."""
        self._drop()
        words = self._secrets.hide(f"{self._account.place}: {reason}")
        return MailSourceError(words, trouble=trouble, retry_after_seconds=retry_after_seconds)

    def _refused(self, name: str, said: Status, *, at_login: bool = False) -> MailSourceError:
        refusal = read_refusal(said, at_login=at_login)
        trouble = MailTrouble.LIMIT if refusal.limit else MailTrouble.REFUSED
        if refusal.auth:
            trouble = MailTrouble.AUTH
        words = f"{name} refused: {said.words}"
        return self.broken(words, trouble=trouble, retry_after_seconds=refusal.wait_seconds)

    @property
    def _imap(self) -> aioimaplib.IMAP4:
        if self._client is None:
            raise MailSourceError(f"{self._account.place}: the session is not open")
        return self._client

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


def _status(response: aioimaplib.Response) -> Status:
    last = bytes(response.lines[-1]) if response.lines else b""
    try:
        said = read_response((b"A " + response.result.encode() + b" " + last,))
    except ImapSyntaxError:
        said = None
    return said if isinstance(said, Status) else Status("A", response.result, "", "")


def _describe(error: BaseException) -> str:
    if isinstance(error, aioimaplib.CommandTimeout):
        return "no answer in time"
    return describe_fault(error)
