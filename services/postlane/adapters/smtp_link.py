"""An SMTP connection on aiosmtplib, opened and spoken over: connect, TLS, EHLO, AUTH, single commands.

What the relay or the network does against us comes up as Stopped with the deciding answer, free of secrets.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import cast

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPConnectResponseError,
    SMTPException,
    SMTPHeloError,
    SMTPResponse,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from aiosmtplib.protocol import SMTPProtocol

from postlane.adapters.token_source import TokenSource
from postlane.config.relay_section import RelaySection
from postlane.config.sections import Tls
from postlane.core.events.status import SmtpReply
from postlane.core.oauth.token_keeper import Token
from postlane.core.secrecy import Secrets
from postlane.core.smtp import bearer
from postlane.core.smtp.smtp_reply import one_line, read_reply
from postlane.core.smtp.smtp_terms import BY_PASSWORD, BY_TOKEN, Login, choose_login
from postlane.core.smtp.transcript import Answer, Lost, Phase

ERROR_TEXT_MAX = 300  # characters of a network error or of a senseless reply that are kept
GOODBYE_SECONDS = 1.0  # for the answer to QUIT, which nobody needs
AUTH_SUCCEEDED, AUTH_CHALLENGE, AUTH_INVALID = 235, 334, 535  # RFC 4954

# ValueError and RuntimeError: aiosmtplib and asyncio raise them for host names and transports that cannot be used.
FAULTS = (SMTPException, OSError, TimeoutError, ValueError, RuntimeError)


class Stopped(Exception):
    """The answer that ended an opening or an attempt, on its way up."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class SmtpLink:
    """One connection to a relay; `own_name` is what EHLO says, `tokens` logs in where the relay's section has `oauth`."""

    def __init__(
        self,
        relay: RelaySection,
        own_name: str,
        tls: ssl.SSLContext | None,
        tokens: TokenSource | None = None,
    ) -> None:
        self.timeout_seconds = relay.timeout_seconds
        self._relay = relay
        self._tokens = tokens
        self._secrets = _password_secrets(relay)
        self._smtp = SMTP(
            hostname=relay.host,
            port=relay.port,
            local_hostname=own_name,
            timeout=relay.timeout_seconds,
            use_tls=relay.tls is Tls.IMPLICIT,
            start_tls=False,
            tls_context=tls,
        )

    @property
    def alive(self) -> bool:
        """Whether the connection stands, as far as this side knows."""
        return self._smtp.is_connected

    @property
    def extensions(self) -> dict[str, str]:
        """What EHLO offered: lower-case keyword -> parameters."""
        return self._smtp.esmtp_extensions

    async def open(self) -> None:
        """Connect, encrypt, log in. Raises Stopped, before it connects where no access token can be had."""
        token = None if self._tokens is None else await self._tokens.token()
        if isinstance(token, SmtpReply):
            raise Stopped(token)
        await self._connect()
        await self._greet()
        if self._relay.tls is Tls.STARTTLS:
            await self._start_tls()
            await self._greet()
        if self._tokens is not None and token is not None:
            await self._log_in_by_token(self._tokens, token)
        elif self._relay.username is not None:
            await self._log_in_by_password(self._relay.username)

    async def execute(self, phase: Phase, *words: bytes) -> SMTPResponse:
        """One command and its answer, whatever that is. Raises Stopped with Lost where there is none."""
        try:
            return await self._smtp.execute_command(*words)
        except FAULTS as error:
            raise Stopped(self.lost(phase, error)) from None

    async def demand(self, phase: Phase, *words: bytes) -> None:
        """One command that must be answered 2xx (RFC 5321 section 4.2.1: the first digit decides). Raises Stopped."""
        response = await self.execute(phase, *words)
        if not 200 <= response.code <= 299:
            raise Stopped(self.refusal(phase, response))

    def wires(self) -> tuple[SMTPProtocol, asyncio.WriteTransport]:
        """The connection itself, for content. Raises SMTPServerDisconnected."""
        if self._smtp.protocol is None or self._smtp.transport is None:
            raise SMTPServerDisconnected("Connection lost")
        # uvloop's transports have the interface without the base class
        return self._smtp.protocol, cast("asyncio.WriteTransport", self._smtp.transport)

    async def quit(self) -> None:
        """Say goodbye, then close."""
        try:
            await self._smtp.execute_command(b"QUIT", timeout=GOODBYE_SECONDS)
        except FAULTS:
            pass  # it is over either way
        finally:
            self.cut()

    def cut(self) -> None:
        """Drop the connection at once; whoever waits for an answer gets Lost."""
        if self._smtp.transport is not None:
            cast("asyncio.WriteTransport", self._smtp.transport).abort()
        self._smtp.close()

    # Opening

    async def _connect(self) -> None:
        try:
            await self._smtp.connect()
        except SMTPConnectResponseError as error:
            raise Stopped(self.refusal(Phase.CONNECT, SMTPResponse(error.code, error.message))) from None
        except FAULTS as error:
            cause = error.__cause__ if isinstance(error, SMTPConnectError) else None
            if isinstance(cause, ssl.SSLError):
                raise Stopped(self.lost(Phase.TLS, cause)) from None
            if isinstance(cause, ConnectionResetError) and self._relay.tls is Tls.IMPLICIT:
                # Of old versions of TLS, or because it wants our certificate, which its own log tells.
                raise Stopped(Lost(Phase.TLS, "the relay broke the TLS handshake off")) from None
            raise Stopped(self.lost(Phase.CONNECT, error)) from None

    async def _greet(self) -> None:
        try:
            await self._smtp.ehlo()
        except SMTPHeloError as error:
            if error.code not in (500, 502):  # RFC 5321 section 4.1.4: a server too old for EHLO
                raise Stopped(self.refusal(Phase.EHLO, SMTPResponse(error.code, error.message))) from None
            await self.demand(Phase.EHLO, b"HELO", (self._smtp.local_hostname or "localhost").encode())
        except FAULTS as error:
            raise Stopped(self.lost(Phase.EHLO, error)) from None

    async def _start_tls(self) -> None:
        if "starttls" not in self.extensions:
            raise Stopped(Lost(Phase.TLS, 'the relay offers no STARTTLS, which tls = "starttls" asks for'))
        try:
            await self._smtp.starttls()
        except SMTPResponseException as error:
            raise Stopped(self.refusal(Phase.TLS, SMTPResponse(error.code, error.message))) from None
        except FAULTS as error:
            raise Stopped(self.lost(Phase.TLS, error)) from None

    async def _log_in_by_password(self, username: str) -> None:
        password = "" if self._relay.password is None else self._relay.password.get_secret_value()
        login = self._choose(BY_PASSWORD)
        try:
            if login is Login.PLAIN:
                await self._smtp.auth_plain(username, password)
            else:
                await self._smtp.auth_login(username, password)
        except SMTPAuthenticationError as error:
            raise Stopped(self.refusal(Phase.AUTH, SMTPResponse(error.code, error.message))) from None
        except FAULTS as error:
            raise Stopped(self.lost(Phase.AUTH, error)) from None

    async def _log_in_by_token(self, tokens: TokenSource, token: Token) -> None:
        """Show the token; where it is refused before its time, another one, once."""
        assert self._relay.oauth is not None
        wanted = BY_TOKEN if self._relay.oauth.mechanism == "auto" else (Login(self._relay.oauth.mechanism),)
        login = self._choose(wanted)
        response = await self._show(login, token)
        if response.code == AUTH_INVALID:
            another = await tokens.instead_of(token)
            if isinstance(another, SmtpReply):
                raise Stopped(another)
            if another is not None:
                token = another
                response = await self._show(login, token)
        if response.code != AUTH_SUCCEEDED:
            raise Stopped(self.refusal(Phase.AUTH, response))
        tokens.taken(token)

    async def _show(self, login: Login, token: Token) -> SMTPResponse:
        """One AUTH by token; an error challenge is answered, and its words are added to the refusal that follows."""
        username = self._relay.username or ""
        if login is Login.OAUTHBEARER:
            initial = bearer.oauthbearer(username, self._relay.host, self._relay.port, token.value)
        else:
            initial = bearer.xoauth2(username, token.value)
        self._secrets = self._secrets.plus(token.value, initial.decode())
        response = await self.execute(Phase.AUTH, b"AUTH", login.value.upper().encode(), initial)
        if response.code != AUTH_CHALLENGE:
            return response
        said = bearer.challenge_words(response.message)
        refusal = await self.execute(Phase.AUTH, bearer.ERROR_ANSWERS[login])
        return SMTPResponse(refusal.code, f"{refusal.message} ({said})") if said else refusal

    def _choose(self, wanted: Sequence[Login]) -> Login:
        """Raises Stopped where none of them can be had."""
        try:
            _, transport = self.wires()
        except SMTPServerDisconnected as error:
            raise Stopped(self.lost(Phase.AUTH, error)) from None
        peer = transport.get_extra_info("peername")
        encrypted = transport.get_extra_info("sslcontext") is not None
        login = choose_login(wanted, self._smtp.server_auth_methods, encrypted=encrypted, peer=str(peer[0]))
        if isinstance(login, SmtpReply):
            raise Stopped(login)
        return login

    # Answers

    def refusal(self, phase: Phase, response: SMTPResponse) -> Answer:
        """A 4xx or 5xx as it is; anything else makes no sense as a refusal, and the session cannot be trusted any more."""
        if 400 <= response.code <= 599:
            return self.reply(phase, response)
        words = one_line(self._without_secrets(response.message), ERROR_TEXT_MAX)
        return Lost(phase, f"the reply makes no sense here: {response.code} {words}")

    def reply(self, phase: Phase, response: SMTPResponse) -> SmtpReply:
        """The relay's words in this phase."""
        return read_reply(phase, response.code, self._without_secrets(response.message))

    def lost(self, phase: Phase, error: BaseException | None) -> Lost:
        """A fault of the network or of the relay's speech, in words for people."""
        match error:
            case SMTPTimeoutError() | TimeoutError():
                words = f"no answer within {self.timeout_seconds:g} s"
            case SMTPResponseException():
                words = f"the reply makes no sense: {error.message}"
            case SMTPServerDisconnected():
                words = "the relay closed the connection"
            case ssl.SSLCertVerificationError():
                words = f"the relay's certificate is not trusted: {error.verify_message}"
            case _:
                words = f"{error}" or type(error).__name__
        return Lost(phase, one_line(self._without_secrets(words), ERROR_TEXT_MAX))

    def _without_secrets(self, text: str) -> str:
        """A confused relay may echo the AUTH command; its words must not carry passwords and tokens on."""
        return self._secrets.hide(text)


def _password_secrets(relay: RelaySection) -> Secrets:
    if relay.password is None:
        return Secrets()
    password = relay.password.get_secret_value()
    return Secrets(password, f"\0{relay.username or ''}\0{password}")
