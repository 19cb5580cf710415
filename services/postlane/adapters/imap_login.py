"""From nothing to a session that is logged in: connect, TLS, capabilities, authentication (RFC 3501 section 6.2, RFC 4959, RFC 7628)."""

from base64 import b64encode

from postlane.adapters.imap_account import ImapAccount
from postlane.adapters.imap_session import ImapSession
from postlane.adapters.imap_wire import trusted_tls
from postlane.adapters.token_source import TokenSource
from postlane.config.sections import Tls
from postlane.config.settings import ConfigError
from postlane.core.events.status import SmtpReply
from postlane.core.imap.arguments import Argument, string
from postlane.core.imap.login import LoginImpossible, choose_login, may_send_secret
from postlane.core.imap.refusals import read_refusal
from postlane.core.imap.responses import Continuation, Status
from postlane.core.oauth.token_keeper import Token
from postlane.core.smtp import bearer
from postlane.core.smtp.smtp_terms import Login
from postlane.ports import MailSourceError, MailTrouble

CHALLENGES_MAX = 3  # no mechanism here has more than one


class ImapLogin:
    """Opens one session. `tokens` where the account logs in by access token."""

    def __init__(self, session: ImapSession, tokens: TokenSource | None) -> None:
        self._session = session
        self._account: ImapAccount = session.account
        self._tokens = tokens

    async def open(self) -> None:
        """Connect, encrypt, log in; capabilities are known afterwards. Raises MailSourceError, before it connects where no token can be had."""
        session, account = self._session, self._account
        token = None if self._tokens is None else await self._token(self._tokens)
        try:
            tls = trusted_tls(account.tls, account.ca_file)
        except ConfigError as error:
            raise session.broken(str(error), trouble=MailTrouble.TLS) from None
        greeting = await session.connect(tls if account.tls is Tls.IMPLICIT else None)
        if account.tls is Tls.STARTTLS and tls is not None:
            if greeting.word == "PREAUTH":
                # Nothing can be encrypted any more, and somebody in between may have said it.
                raise session.broken(
                    "it greets with PREAUTH, where STARTTLS is demanded", trouble=MailTrouble.TLS
                )
            await self._know_capabilities()
            if not session.can("STARTTLS"):
                words = 'the server offers no STARTTLS, which tls = "starttls" asks for'
                raise session.broken(words, trouble=MailTrouble.TLS)
            await session.start_tls(tls)
        await self._know_capabilities()
        if greeting.word != "PREAUTH":
            await self._log_in(token)
            await self._know_capabilities()
        await self._enable_utf8()

    async def _token(self, tokens: TokenSource) -> Token:
        token = await tokens.token()
        if isinstance(token, SmtpReply):
            raise self._no_token(tokens)
        return token

    def _no_token(self, tokens: TokenSource) -> MailSourceError:
        standing = tokens.standing
        trouble = MailTrouble.GRANT if standing.broken else MailTrouble.TOKEN
        words = standing.words or "the token endpoint has not answered yet"
        return self._session.broken(f"no access token: {words}", trouble=trouble)

    async def _know_capabilities(self) -> None:
        session = self._session
        if session.told.capabilities is None:
            await session.command("CAPABILITY", wanted={"CAPABILITY"})
            if session.told.capabilities is None:
                raise session.broken("answers CAPABILITY without any", trouble=MailTrouble.PROTOCOL)

    async def _log_in(self, token: Token | None) -> None:
        session, account = self._session, self._account
        wire = session.wire
        if not may_send_secret(wire.peer, encrypted=wire.encrypted, allow_plaintext=account.allow_plaintext):
            words = "nothing secret is sent without TLS; set tls, or allow_plaintext = true"
            raise session.broken(words, trouble=MailTrouble.TLS)
        known = session.told.capabilities or frozenset()
        try:
            login = choose_login(known, by_token=token is not None, mechanism=account.mechanism)
        except LoginImpossible as error:
            raise session.broken(str(error), trouble=MailTrouble.AUTH) from None
        session.told.capabilities = None  # others may come with the login (RFC 3501 section 6.2.2)
        if self._tokens is not None and token is not None:
            await self._by_token(self._tokens, token, login, known)
        elif login is Login.PLAIN:
            initial = b64encode(f"\0{account.username}\0{account.password}".encode())
            done, said = await self._authenticate(login, initial, known)
            self._demand("AUTHENTICATE PLAIN", done, said)
        else:
            await self._by_command()

    async def _by_command(self) -> None:
        session = self._session
        try:
            words: tuple[Argument, ...] = (string(self._account.username), string(self._account.password))
        except ValueError as error:
            raise session.broken(f"LOGIN is impossible: {error}", trouble=MailTrouble.AUTH) from None
        exchange = await session.run("LOGIN", *words)
        self._demand("LOGIN", exchange.done, "")

    async def _by_token(self, tokens: TokenSource, token: Token, login: Login, known: frozenset[str]) -> None:
        """Show the token; where it is refused before its time, another one, once."""
        done, said = await self._show(token, login, known)
        if done.word == "NO" and read_refusal(done, at_login=True).auth:
            another = await tokens.instead_of(token)
            if isinstance(another, SmtpReply):
                raise self._no_token(tokens)
            if another is not None:
                token = another
                done, said = await self._show(token, login, known)
        self._demand(f"AUTHENTICATE {login.value.upper()}", done, said)
        tokens.taken(token)

    async def _show(self, token: Token, login: Login, known: frozenset[str]) -> tuple[Status, str]:
        account, session = self._account, self._session
        if login is Login.OAUTHBEARER:
            initial = bearer.oauthbearer(account.username, account.host, account.port, token.value)
        else:
            initial = bearer.xoauth2(account.username, token.value)
        session.secrets = session.secrets.plus(token.value, initial.decode())
        return await self._authenticate(login, initial, known)

    async def _authenticate(self, login: Login, initial: bytes, known: frozenset[str]) -> tuple[Status, str]:
        """AUTHENTICATE to its end; with the words of an error challenge, which must be answered before the refusal comes."""
        session = self._session
        name = f"AUTHENTICATE {login.value.upper()}"
        exchange = await session.begin(name)
        at_once = "SASL-IR" in known  # RFC 4959
        session.wire.write(f"{exchange.tag} {name}".encode() + (b" " + initial if at_once else b"") + b"\r\n")
        answer = await session.answer(exchange, name)
        if not at_once and isinstance(answer, Continuation):
            session.wire.write(initial + b"\r\n")
            answer = await session.answer(exchange, name)
        said = ""
        for _ in range(CHALLENGES_MAX):
            if isinstance(answer, Status):
                return answer, said
            said = bearer.challenge_words(answer.text)
            session.wire.write(bearer.ERROR_ANSWERS.get(login, b"*") + b"\r\n")
            answer = await session.answer(exchange, name)
        raise session.broken(f"asks without end in answer to {name}", trouble=MailTrouble.PROTOCOL)

    def _demand(self, name: str, done: Status | None, said: str) -> None:
        if done is None or done.word != "OK":
            assert done is not None
            raise self._session.refused(name, done, at_login=True, more=f" ({said})" if said else "")

    async def _enable_utf8(self) -> None:
        """Ask for names and headers as they are, where the server can (RFC 6855); it counts once the server confirms."""
        session = self._session
        if session.can("ENABLE") and (session.can("UTF8=ACCEPT") or session.can("UTF8=ONLY")):
            exchange = await session.run("ENABLE", b"UTF8=ACCEPT", wanted={"ENABLED"})
            session.utf8 = any(
                b"UTF8=ACCEPT" in fragment.upper()
                for line in exchange.lines
                if not isinstance(line, Status)
                for fragment in line.rest
            )
