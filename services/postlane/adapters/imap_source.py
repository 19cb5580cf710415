"""MailSource on aioimaplib, the one place that imports it (GPL-3.0, an extra of its own; see the README on licences).

What aioimaplib 2.0.3 does wrong and what is done about it here:
- commands never end after the connection is lost: every command races against that loss and against a deadline;
- about 1,000 untagged lines in one read end in a RecursionError, which closes the connection: at most 100 UIDs are asked for at once, and what other
  clients cause is healed by the next session;
- capabilities announced at login are misread: they are asked for again;
- STARTTLS is missing: such a configuration is refused.

After any MailSourceError the session is closed.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from aioimaplib import aioimaplib

from postlane.adapters.imap_lines import (
    FetchedItem,
    Line,
    backoff_seconds,
    folder_name,
    has_exists,
    parse_fetch,
    parse_search,
    parse_select,
    quote,
    search_date,
    uid_set,
)
from postlane.core.folder import FolderState, ListedMail
from postlane.ports import MailSourceError

UIDS_PER_COMMAND_MAX = 100  # three lines each, well below the client's limit of about 900 in one read
FETCH_DEADLINE_FACTOR = 10  # a chunk may take longer than a command, as long as bytes keep coming
LOGOUT_SECONDS = 2.0  # politeness only
IDLE_GRACE_SECONDS = 5.0
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


class ImapSource:
    """See ports.MailSource. One session; for the next one make a new object."""

    def __init__(self, account: ImapAccount) -> None:
        self._account = account
        self._client: aioimaplib.IMAP4 | None = None
        self._lost = asyncio.Event()
        self._backlog: list[int] = []  # UIDs that the last search found and nobody asked past yet, descending
        self._backlog_after = 0  # the backlog holds every UID above this one

    async def open(self, folder: str) -> FolderState:
        """See ports.MailSource.open."""
        await self._connect()
        await self._login()
        await self._run("CAPABILITY", self._imap.protocol.capability())
        lines = await self._command("SELECT", self._imap.protocol.select(folder_name(folder)))
        self._keep_alive()
        selected = parse_select(lines)
        if selected.uid_validity is None:
            raise await self._broken(
                f"the server names no UIDVALIDITY for folder {folder!r}; it cannot be polled safely"
            )
        uid_next = selected.uid_next
        if uid_next is None:  # optional in RFC 3501
            newest = await self._search("UID *")
            uid_next = newest[-1] + 1 if newest else 1
        return FolderState(uid_validity=selected.uid_validity, uid_next=uid_next, exists=selected.exists)

    async def list_since(self, uid: int, limit: int) -> list[ListedMail]:
        """See ports.MailSource.list_since."""
        while True:
            await self._search_from(uid)
            if not self._backlog:
                return []
            wanted = self._backlog[: -min(limit, UIDS_PER_COMMAND_MAX) - 1 : -1]
            items = {item.uid: item for item in await self._fetch(wanted, "(UID RFC822.SIZE INTERNALDATE)")}
            # A mail whose size or time cannot be read is a mail all the same.
            listed = [
                ListedMail(
                    uid=one,
                    size_bytes=items[one].size_bytes or 0,
                    received_at=items[one].received_at or datetime.now(UTC),
                )
                for one in wanted
                if one in items
            ]
            if listed:
                return listed
            uid = wanted[-1]  # all of them are gone meanwhile

    async def _search_from(self, uid: int) -> None:
        """Let the backlog be what lies above this UID; search again only when it is used up or does not reach down."""
        while self._backlog and self._backlog[-1] <= uid:
            self._backlog.pop()
        if not self._backlog or uid < self._backlog_after:
            # `n:*` names the newest mail even where its UID is below n (RFC 3501 section 6.4.8).
            found = [one for one in await self._search(f"UID {uid + 1}:*") if one > uid]
            self._backlog = found[::-1]
        self._backlog_after = uid

    async def count_since(self, received_at: datetime) -> int:
        """See ports.MailSource.count_since."""
        return len(await self._search(f"SINCE {search_date(received_at)}"))

    async def first_uid_since(self, received_at: datetime) -> int | None:
        """See ports.MailSource.first_uid_since."""
        found = await self._search(f"SINCE {search_date(received_at)}")
        return found[0] if found else None

    async def fetch(self, uids: Sequence[int]) -> dict[int, bytes]:
        """See ports.MailSource.fetch."""
        wanted = list(uids)
        contents: dict[int, bytes] = {}
        for start in range(0, len(wanted), UIDS_PER_COMMAND_MAX):
            items = await self._fetch(wanted[start : start + UIDS_PER_COMMAND_MAX], "(UID BODY.PEEK[])")
            contents |= {item.uid: item.content for item in items if item.content is not None}
        return {uid: contents[uid] for uid in wanted if uid in contents}

    async def fetch_part(self, uid: int, start: int, size: int) -> bytes:
        """See ports.MailSource.fetch_part."""
        return await self._fetch_one(uid, f"(UID BODY.PEEK[]<{start}.{size}>)")

    async def fetch_header(self, uid: int) -> bytes:
        """See ports.MailSource.fetch_header."""
        return await self._fetch_one(uid, "(UID BODY.PEEK[HEADER])")

    async def flag(self, uids: Sequence[int], flag: str) -> None:
        """See ports.MailSource.flag."""
        await self._store(uids, flag)

    async def move(self, uids: Sequence[int], folder: str) -> None:
        """See ports.MailSource.move."""
        for chunk in _chunks(uids):
            if self._can("MOVE"):
                await self._into(folder, "MOVE", chunk)
                continue
            # Flagged as deleted means copied already, by an attempt that was cut off.
            pending = await self._search(f"UID {uid_set(chunk)} UNDELETED")
            if pending:
                await self._into(folder, "COPY", pending)
            await self.delete(chunk)

    async def delete(self, uids: Sequence[int]) -> None:
        """See ports.MailSource.delete."""
        await self._store(uids, "\\Deleted")
        if self._can("UIDPLUS"):
            for chunk in _chunks(uids):
                await self._command("UID EXPUNGE", self._imap.protocol.expunge(uid_set(chunk), by_uid=True))

    async def wait_for_change(self, timeout_seconds: float) -> bool:
        """See ports.MailSource.wait_for_change."""
        if not self._can("IDLE"):
            return await self._sleep(timeout_seconds)
        protocol = self._imap.protocol
        while not protocol.idle_queue.empty():
            protocol.idle_queue.get_nowait()
        await self._run("IDLE", self._imap.idle_start(timeout_seconds + 2 * IDLE_GRACE_SECONDS))
        try:
            changed = await self._idle_change(timeout_seconds)
        finally:
            if not self._lost.is_set():
                self._imap.idle_done()
        ended = protocol.pending_sync_command
        if ended is not None:
            await self._run("IDLE", ended.wait())
        return changed

    async def close(self) -> None:
        """See ports.MailSource.close."""
        if self._client is None:
            return
        if not self._lost.is_set() and self._client.get_state() in ("AUTH", "SELECTED"):
            with contextlib.suppress(Exception):  # the session ends either way
                await asyncio.wait_for(self._client.logout(), LOGOUT_SECONDS)
        self._drop()

    # Session

    @property
    def _imap(self) -> aioimaplib.IMAP4:
        if self._client is None:
            raise MailSourceError(f"{self._where} is not open")
        return self._client

    @property
    def _where(self) -> str:
        return f"{self._account.host}:{self._account.port}"

    async def _connect(self) -> None:
        context = self._tls_context() if self._account.tls else None
        self._client = aioimaplib.IMAP4(
            self._account.host,
            self._account.port,
            timeout=self._account.command_timeout_seconds,
            conn_lost_cb=lambda _error: self._lost.set(),
            ssl_context=context,
        )
        await self._run("connecting", self._client.wait_hello_from_server())

    def _tls_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._account.ca_file)
        except OSError as error:
            reason = f"ca_file {self._account.ca_file} cannot be read: {error.strerror}"
            raise MailSourceError(f"{self._where}: {reason}") from None

    async def _login(self) -> None:
        response = await self._run(
            "LOGIN", self._imap.protocol.login(quote(self._account.username), self._account.password)
        )
        if response.result != "OK":
            raise await self._broken(f"LOGIN refused: {self._text(response.lines)}", auth=True)

    def _keep_alive(self) -> None:
        """Let the system find dead peers as well; deadlines find them first."""
        transport = self._imap.protocol.transport
        connection = transport.get_extra_info("socket") if transport is not None else None
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def _can(self, capability: str) -> bool:
        return capability in {name.upper() for name in self._imap.protocol.capabilities}

    # Commands

    async def _search(self, criteria: str) -> list[int]:
        return parse_search(
            await self._command("UID SEARCH", self._imap.protocol.search(criteria, charset=None, by_uid=True))
        )

    async def _fetch(self, uids: Sequence[int], what: str) -> list[FetchedItem]:
        if not uids:
            return []
        seconds = self._account.command_timeout_seconds
        # The client's own time-out starts anew with every line and literal: it ends a fetch that stands still.
        command = self._imap.protocol.fetch(uid_set(uids), what, by_uid=True, timeout=seconds)
        return parse_fetch(await self._command("UID FETCH", command, seconds * FETCH_DEADLINE_FACTOR))

    async def _fetch_one(self, uid: int, what: str) -> bytes:
        items = await self._fetch([uid], what)
        return next((item.content for item in items if item.uid == uid and item.content is not None), b"")

    async def _store(self, uids: Sequence[int], flag: str) -> None:
        for chunk in _chunks(uids):
            await self._command(
                "UID STORE",
                self._imap.protocol.store(uid_set(chunk), "+FLAGS.SILENT", f"({flag})", by_uid=True),
            )

    async def _into(self, folder: str, command: str, uids: Sequence[int]) -> None:
        """MOVE or COPY; where the server says that the folder is missing, create it and try once more."""
        run = self._imap.protocol.move if command == "MOVE" else self._imap.protocol.copy
        name = folder_name(folder)
        response = await self._run(f"UID {command}", run(uid_set(uids), name, by_uid=True))
        if response.result == "NO":
            # Not every server says TRYCREATE (RFC 3501 section 6.4.7); creating what exists does no harm.
            await self._run("CREATE", self._imap.protocol.simple_command("CREATE", name))
            response = await self._run(f"UID {command}", run(uid_set(uids), name, by_uid=True))
        if response.result != "OK":
            raise await self._broken(f"UID {command} to {folder!r} refused: {self._text(response.lines)}")

    async def _command(
        self, name: str, command: "Awaitable[aioimaplib.Response]", seconds: float | None = None
    ) -> list[Line]:
        """The lines of a command that must succeed. Raises MailSourceError."""
        response = await self._run(name, command, seconds)
        if response.result != "OK":
            raise await self._broken(f"{name} refused: {self._text(response.lines)}")
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
        except (aioimaplib.AioImapException, OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise await self._broken(f"{name} failed: {self._describe(error)}") from None
        finally:
            lost.cancel()
            running.cancel()
        if self._lost.is_set():
            raise await self._broken(f"connection lost during {name}")
        raise await self._broken(f"{name} was not answered within {deadline:g} s")

    async def _idle_change(self, timeout_seconds: float) -> bool:
        """True when the server speaks of mail within the time. Raises MailSourceError when the connection is lost."""
        until = asyncio.get_running_loop().time() + timeout_seconds
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            while (left := until - asyncio.get_running_loop().time()) > 0:
                pushed = asyncio.ensure_future(self._imap.protocol.idle_queue.get())
                await asyncio.wait({pushed, lost}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if not pushed.done():
                    pushed.cancel()
                    break
                if has_exists(pushed.result()):
                    return True
        finally:
            lost.cancel()
        if self._lost.is_set():
            raise await self._broken("connection lost during IDLE")
        return False

    async def _sleep(self, timeout_seconds: float) -> bool:
        """For servers without IDLE: wait, then NOOP, which keeps the session alive and proves that it is."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._lost.wait(), timeout_seconds)
        await self._command("NOOP", self._imap.protocol.simple_command("NOOP"))
        return False

    async def _broken(self, reason: str, *, auth: bool = False) -> MailSourceError:
        """Close the session and make the error that tells why; nothing in it came from a mail or is secret."""
        self._drop()
        return MailSourceError(
            f"{self._where}: {reason}", auth=auth, retry_after_seconds=backoff_seconds(reason)
        )

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._lost.set()
        if client is None:
            return
        client._client_task.cancel()  # noqa: SLF001 - the only way to end a connection that is being made
        if client.protocol is not None and client.protocol.transport is not None:
            client.protocol.transport.abort()

    def _text(self, lines: Sequence[Line]) -> str:
        last = bytes(lines[-1]).decode("utf-8", "replace") if lines else ""
        return self._without_password(last)[:SERVER_TEXT_MAX]

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
        """Some servers echo the command that they refuse."""
        return text.replace(self._account.password, "[redacted]") if self._account.password else text


def _chunks(uids: Sequence[int]) -> list[Sequence[int]]:
    return [uids[start : start + UIDS_PER_COMMAND_MAX] for start in range(0, len(uids), UIDS_PER_COMMAND_MAX)]
