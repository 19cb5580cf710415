"""One IMAP connection of our own client: commands one by one, each ends with an answer or a MailSourceError by its deadline.

After any MailSourceError the connection is closed. Nothing in an error came from a mail or is secret.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from postlane.adapters.imap_account import ImapAccount
from postlane.adapters.imap_exchange import Deadline, Exchange
from postlane.adapters.imap_waiting import Bell
from postlane.adapters.imap_wire import ImapWire, describe_fault
from postlane.core.imap.announcements import Announcements
from postlane.core.imap.arguments import Argument, Literal, announcement
from postlane.core.imap.refusals import read_refusal
from postlane.core.imap.responses import Continuation, Data, Response, Status
from postlane.core.imap.stream import ImapSyntaxError
from postlane.core.secrecy import Secrets
from postlane.ports import MailSourceError, MailTrouble

LOGOUT_SECONDS = 1.0  # politeness only
GREETING = "the greeting"

T = TypeVar("T")


class ImapSession:
    """Not connected until `connect`. `told`: what the server says beside its answers."""

    def __init__(self, account: ImapAccount) -> None:
        self.account = account
        self.told = Announcements()
        self.secrets = Secrets(account.password, f"\0{account.username}\0{account.password}")
        self.utf8 = False
        self._wire: ImapWire | None = None
        self._exchange: Exchange | None = None
        self._error: MailSourceError | None = None
        self._bell = Bell()
        self._clock = asyncio.get_running_loop().time
        self._tags = 0
        self._leaving = False

    @property
    def wire(self) -> ImapWire:
        """The connection. Raises MailSourceError when there is none, with the reason it ended for."""
        if self._wire is None or not self._wire.open:
            raise self._why_over()
        return self._wire

    def can(self, capability: str) -> bool:
        """Whether the server has announced this capability."""
        return capability in (self.told.capabilities or ())

    async def connect(self, tls: ssl.SSLContext | None) -> Status:
        """Connect and be greeted. Raises MailSourceError."""
        account = self.account
        wire = self._wire = ImapWire(self._heard, self._ended, account.answer_bytes_max)
        greeting = self._exchange = Exchange(GREETING, "", frozenset(), account.answer_bytes_max)
        opening = wire.connect(account.host, account.port, tls, account.command_timeout_seconds)
        await self._network("connecting", opening)
        try:
            await self._wait(lambda: greeting.lines or None, self._deadline())
        except TimeoutError:
            words = f"the server has not greeted within {account.command_timeout_seconds:g} s"
            if tls is None and not wire.received_bytes:
                words += '; so it is where a port wants TLS from the start: check port and tls = "implicit"'
            raise self.broken(words) from None
        self._exchange = None
        first = greeting.lines[0]
        assert isinstance(first, Status)
        return first

    async def start_tls(self, tls: ssl.SSLContext) -> None:
        """Encrypt; what was announced before does not count any more (RFC 3501 section 6.2.1). Raises MailSourceError."""
        await self.command("STARTTLS")
        await self._network(
            "STARTTLS", self.wire.start_tls(self.account.host, tls, self.account.command_timeout_seconds)
        )
        self._exchange = None
        self.told.capabilities = None

    async def _network(self, name: str, awaited: Awaitable[None]) -> None:
        try:
            await awaited
        except ImapSyntaxError as error:
            raise self._senseless(error) from None
        except (OSError, ValueError) as error:  # TimeoutError and UnicodeError, too
            trouble = MailTrouble.TLS if isinstance(error, ssl.SSLError) else MailTrouble.CONNECTION
            raise self.broken(f"{name} failed: {describe_fault(error)}", trouble=trouble) from None

    async def command(
        self, name: str, *arguments: Argument, wanted: Iterable[str] = (), streams: bool = False
    ) -> Exchange:
        """A command that must succeed. Raises MailSourceError."""
        exchange = await self.run(name, *arguments, wanted=wanted, streams=streams)
        assert exchange.done is not None
        if exchange.done.word != "OK":
            raise self.refused(name, exchange.done)
        return exchange

    async def run(
        self, name: str, *arguments: Argument, wanted: Iterable[str] = (), streams: bool = False
    ) -> Exchange:
        """A command and whatever it is answered; what is said beside the answer and not `wanted` is dropped. Raises MailSourceError."""
        deadline = self._deadline(streams=streams)
        exchange = await self.begin(name, wanted)
        with self._spoiled_by_cancelling():
            line = f"{exchange.tag} {name}".encode()
            for argument in arguments:
                line += b" "
                if isinstance(argument, Literal):
                    await self._send_literal(exchange, line, argument, deadline)
                    if exchange.done is not None:
                        return exchange
                    line = argument.content
                else:
                    line += argument
            self.wire.write(line + b"\r\n")
            await self._until(name, lambda: exchange.done, deadline)
        return exchange

    async def begin(self, name: str, wanted: Iterable[str] = ()) -> Exchange:
        """Make ready for a command, once what an earlier IDLE was cut off from has ended. Raises MailSourceError."""
        earlier = self._exchange
        if earlier is not None and earlier.done is None:
            await self._until(earlier.name, lambda: earlier.done, self._deadline())
        _ = self.wire
        self._tags += 1
        limit = self.account.answer_bytes_max
        exchange = self._exchange = Exchange(name, f"P{self._tags}", frozenset(wanted), limit)
        return exchange

    async def answer(self, exchange: Exchange, name: str) -> Continuation | Status:
        """The server's next continuation request, or the end of the command. Raises MailSourceError."""

        def said() -> Continuation | Status | None:
            return exchange.done or exchange.continuation

        with self._spoiled_by_cancelling():
            answer: Continuation | Status = await self._until(name, said, self._deadline())
        exchange.continuation = None
        return answer

    # IDLE

    async def idle(self, timeout_seconds: float) -> bool | None:
        """IDLE (RFC 2177) until the server speaks of mail (True) or the time is over (False); None where it refuses. Raises MailSourceError."""
        if self.told.has_news:
            return True  # told beside the answer to another command; no IDLE would tell it again
        exchange = await self.begin("IDLE")
        self.wire.write(f"{exchange.tag} IDLE\r\n".encode())
        try:
            first = await self._until(
                "IDLE", lambda: exchange.done or exchange.continuation, self._deadline()
            )
            if isinstance(first, Status):
                self._not_throttled("IDLE", first)
                return None
            until = Deadline(self._clock(), timeout_seconds)
            with contextlib.suppress(TimeoutError):
                await self._wait(lambda: self.told.has_news or None, until)
        except asyncio.CancelledError:
            self._leave_idle(exchange)  # its end is awaited by the next command
            raise
        self._leave_idle(exchange)
        self._not_throttled("IDLE", await self._until("IDLE", lambda: exchange.done, self._deadline()))
        return self.told.has_news

    async def sleep(self, timeout_seconds: float) -> bool:
        """For servers without IDLE: wait, then NOOP, which keeps the session alive and brings news. Raises MailSourceError."""
        with contextlib.suppress(TimeoutError):
            await self._wait(lambda: self.told.has_news or None, Deadline(self._clock(), timeout_seconds))
        if not self.told.has_news:
            await self.command("NOOP")
        return self.told.has_news

    def _leave_idle(self, exchange: Exchange) -> None:
        if exchange.done is None and self._wire is not None:
            self._wire.write(b"DONE\r\n")

    def _not_throttled(self, name: str, said: Status) -> None:
        refusal = read_refusal(said, at_login=False)
        if said.word != "OK" and (refusal.limit or refusal.wait_seconds is not None):
            raise self.refused(name, said)

    # The end

    async def close(self) -> None:
        """Log out politely, within a short deadline; may be called again."""
        if self._wire is None or not self._wire.open or self._error is not None:
            self.drop()
            return
        self._leaving = True
        with contextlib.suppress(MailSourceError, TimeoutError):
            async with asyncio.timeout(LOGOUT_SECONDS):
                await self.run("LOGOUT")
        self.drop()

    def drop(self) -> None:
        """Cut the connection."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.cut()
        self._bell.ring()

    def refused(self, name: str, said: Status, *, at_login: bool = False, more: str = "") -> MailSourceError:
        """Close the connection and make the error of a NO, BAD or BYE."""
        refusal = read_refusal(said, at_login=at_login)
        trouble = MailTrouble.REFUSED
        if refusal.auth:
            trouble = MailTrouble.AUTH
        elif refusal.limit:
            trouble = MailTrouble.LIMIT
        words = f"{name} refused: {said.words}{more}"
        return self.broken(words, trouble=trouble, retry_after_seconds=refusal.wait_seconds)

    def broken(
        self,
        reason: str,
        *,
        trouble: MailTrouble = MailTrouble.CONNECTION,
        retry_after_seconds: float | None = None,
    ) -> MailSourceError:
        """Close the connection and make the error that tells why."""
        self.drop()
        joint = " " if trouble is MailTrouble.PROTOCOL else ": "
        words = self.secrets.hide(f"{self.account.place}{joint}{reason}")
        return MailSourceError(words, trouble=trouble, retry_after_seconds=retry_after_seconds)

    # What comes in

    def _heard(self, response: Response) -> None:
        exchange = self._exchange
        if isinstance(response, Status) and response.word == "BYE" and not self._leaving:
            self._fail(self._bye(response))
            return
        self.told.note(response)
        if self.told.is_renumbered:
            self._fail(self.broken("the folder's UIDVALIDITY has changed while it was open"))
            return
        if exchange is None or exchange.done is not None:
            self._unasked(response)
            return
        if exchange.name == GREETING and not _is_greeting(response):
            raise ImapSyntaxError(f"does not answer as an IMAP server: it begins with {_brief(response)}")
        if isinstance(response, Status) and response.tag not in {"", exchange.tag}:
            raise ImapSyntaxError(f"answers a command that was not given: {response.tag} {response.word}")
        exchange.take(response)
        if self.told.has_news or isinstance(response, Status | Continuation):
            self._bell.ring()

    def _bye(self, said: Status) -> MailSourceError:
        refusal = read_refusal(said, at_login=False)
        trouble = MailTrouble.LIMIT if refusal.limit else MailTrouble.CONNECTION
        if refusal.auth:
            trouble = MailTrouble.AUTH
        words = f"the server ended the session{self._during}: {said.words}"
        return self.broken(words, trouble=trouble, retry_after_seconds=refusal.wait_seconds)

    @property
    def _during(self) -> str:
        running = self._exchange is not None and self._exchange.done is None
        return f" during {self._exchange.name}" if running and self._exchange is not None else ""

    def _unasked(self, response: Response) -> None:
        starting_tls = self._exchange is not None and self._exchange.name == "STARTTLS"
        if starting_tls:
            raise ImapSyntaxError("says something in clear behind its answer to STARTTLS")
        if isinstance(response, Status) and response.tag:
            raise ImapSyntaxError(f"answers a command that was not given: {response.tag} {response.word}")
        if self.told.has_news:
            self._bell.ring()

    def _ended(self, fault: Exception | None) -> None:
        if isinstance(fault, ImapSyntaxError):
            self._fail(self._senseless(fault))
        else:
            self._fail(self.broken(f"connection lost{self._during}: {describe_fault(fault)}"))

    def _senseless(self, fault: ImapSyntaxError) -> MailSourceError:
        return self.broken(str(fault), trouble=MailTrouble.PROTOCOL)

    def _fail(self, error: MailSourceError) -> None:
        self._error = self._error or error
        self._bell.ring()

    # Waiting

    def _deadline(self, *, streams: bool = False) -> Deadline:
        received = 0 if self._wire is None else self._wire.received_bytes
        return Deadline(self._clock(), self.account.command_timeout_seconds, received, streams)

    async def _until(self, name: str, ready: Callable[[], T | None], deadline: Deadline) -> T:
        try:
            return await self._wait(ready, deadline)
        except TimeoutError:
            seconds = self._clock() - deadline.begun_at
            raise self.broken(f"{name} was not answered within {seconds:.3g} s") from None

    async def _wait(self, ready: Callable[[], T | None], deadline: Deadline) -> T:
        """What `ready` gives. Raises MailSourceError when the connection is lost first, TimeoutError."""

        def looked() -> T | None:
            if self._error is not None or self._wire is None:
                raise self._why_over()
            return ready()

        def ends_at() -> float:
            wire = self.wire
            return deadline.at(wire.heard_at, wire.received_bytes)

        return await self._bell.until(looked, ends_at)

    def _why_over(self) -> MailSourceError:
        """What ended the session is told once."""
        error, self._error = self._error, None
        return error or MailSourceError(f"{self.account.place}: the session is not open")

    @contextlib.contextmanager
    def _spoiled_by_cancelling(self) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            self.drop()  # the answer would be taken for that to another command
            raise

    async def _send_literal(
        self, exchange: Exchange, line: bytes, literal: Literal, deadline: Deadline
    ) -> None:
        """Announce a literal and wait for leave to send it; its bytes go with what follows."""
        announced, waits = announcement(literal, self.told.capabilities or frozenset())
        self.wire.write(line + announced + b"\r\n")
        if waits:
            await self._until(exchange.name, lambda: exchange.done or exchange.continuation, deadline)
            exchange.continuation = None


def _is_greeting(response: Response) -> bool:
    return isinstance(response, Status) and not response.tag and response.word in {"OK", "PREAUTH"}


def _brief(response: Response) -> str:
    match response:
        case Continuation(text):
            return f"+{text}"
        case Data(name):
            return name
        case Status(tag, word):
            return f"{tag} {word}"
