"""The access token of one account for all its sessions: fetched when first needed, renewed long before its end, one request at a time.

core.oauth.token_keeper decides; this asks the endpoint in a thread, keeps the timer and says what people must know.
"""

import asyncio
import random
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from postlane.adapters.refresh_token_file import RefreshTokenFileBusy, RefreshTokenFileError
from postlane.adapters.refresh_tokens import Owner, RefreshTokens
from postlane.adapters.token_endpoint import TokenEndpoint
from postlane.config.oauth_section import OAuthSection
from postlane.core.events.status import SmtpReply
from postlane.core.oauth.token_keeper import Token, TokenKeeper, Trouble
from postlane.core.oauth.token_reply import Granted, Refused, TokenReply, Unavailable
from postlane.core.secrecy import Secrets
from postlane.ports import Clock

ASK_SECONDS_MIN = 1.0  # between renewals that no session asked for, however short a token's life
SAVE_AGAIN_SECONDS = 30.0  # while a new refresh token stands in memory alone
SESSION_WAIT_SECONDS_MAX = (
    75.0  # for a renewal: the endpoint's longest timeout, and the lock of another process
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a relay's grant stands, for gauges and alarms.

    `broken`: a person must act. `words` say what is wrong. `ends_at` (seconds since 1970) and `days_left` where the provider tells;
    `warns`: the end is near. `unkept`: the provider replaced the refresh token, and no file keeps the new one.
    """

    ok: bool
    broken: bool
    words: str
    ends_at: float | None
    days_left: float | None
    warns: bool
    unkept: bool


class TokenSource:
    """The tokens of the `owner` called `name`. `note` hears every change of its standing. Raises ConfigError for files that cannot be used."""

    def __init__(
        self,
        name: str,
        oauth: OAuthSection,
        *,
        owner: Owner = Owner.RELAY,
        clock: Clock = time.time,
        note: Callable[[Standing], None] | None = None,
    ) -> None:
        self._name = name
        self._oauth = oauth
        self._clock = clock
        self._note = note
        self._keeper = TokenKeeper()
        self._owner = owner
        self._endpoint = TokenEndpoint(owner.section(name), oauth)
        self._refresh_tokens = RefreshTokens(name, oauth, owner)
        self._renewal: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._days_warned: int | None = None
        self._closed = False

    @property
    def standing(self) -> Standing:
        """How the grant stands now."""
        trouble, grant, now = self._keeper.trouble, self._keeper.grant, self._clock()
        return Standing(
            ok=trouble is None,
            broken=trouble is not None and trouble.broken,
            words="" if trouble is None else f"the token endpoint {self._oauth.token_host} {trouble.words}",
            ends_at=None if grant is None else grant.ends_at,
            days_left=None if grant is None else grant.days_left(now),
            warns=grant is not None and grant.warns(now),
            unkept=self._refresh_tokens.unkept,
        )

    @property
    def secrets(self) -> Secrets:
        """What must not show in words of the relay or of the endpoint."""
        secret, first, token = self._oauth.client_secret, self._oauth.refresh_token, self._keeper.token
        return Secrets(
            "" if secret is None else secret.get_secret_value(),
            "" if secret is None else self._endpoint.basic_credentials(),
            "" if first is None else first.get_secret_value(),
            self._refresh_tokens.current,
            "" if token is None else token.value,
        )

    async def token(self) -> Token | SmtpReply:
        """A token that the relay should take, or what is said in the relay's place."""
        now = self._clock()
        if now >= self._keeper.ask_at():
            self._renew()
        token = self._keeper.usable(now)
        if token is not None:
            return token
        if self._renewal is not None:
            # Not cancelled with the session that waits: others wait, too, and a refresh token may be on its way.
            await asyncio.wait({self._renewal}, timeout=SESSION_WAIT_SECONDS_MAX)
        return self._keeper.usable(self._clock()) or self._keeper.reply(self._clock())

    async def instead_of(self, token: Token) -> Token | SmtpReply | None:
        """Another token, where the relay refuses this one before its time; None where that cannot help."""
        return await self.token() if self._keeper.refused_by_relay(token) else None

    def taken(self, token: Token) -> None:
        """The relay takes it."""
        self._keeper.taken_by_relay(token)

    def close(self) -> None:
        """Renew no more. A request on its way ends in its thread, which keeps a new refresh token."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._renewal is not None:
            self._renewal.cancel()

    # Renewal

    def _renew(self) -> None:
        if self._renewal is None and not self._closed:
            self._renewal = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        try:
            try:
                reply = await asyncio.to_thread(self._exchange)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the renewals, nor name a secret
                traced = self.secrets.hide("".join(traceback.format_exception(error)))
                log.error("oauth_fault", **self._owner.bound(self._name), exception=traced)
                reply = Unavailable("could not be asked; see the log")
            before = self._keeper.trouble
            self._keeper.answered(reply, self._clock(), random.random())  # noqa: S311 - spreads renewals
            self._tell(before)
        finally:
            self._renewal = None
            self._schedule()

    def _exchange(self) -> TokenReply:
        try:
            with self._refresh_tokens.exchange(self._oauth.timeout_seconds) as exchange:
                reply = self._endpoint.ask(exchange.given)
                if isinstance(reply, Granted):
                    exchange.kept = reply.refresh_token
        except RefreshTokenFileBusy:
            return Unavailable("is being asked by another process")
        except RefreshTokenFileError as error:
            return Refused("was not asked: refresh_token_file cannot be used", str(error))
        return self._veiled(reply)

    def _veiled(self, reply: TokenReply) -> TokenReply:
        hide = self.secrets.hide
        match reply:
            case Refused(short, words):
                return Refused(hide(short), hide(words))
            case Unavailable(words, wait_seconds):
                return Unavailable(hide(words), wait_seconds)
            case _:
                return reply

    def _schedule(self) -> None:
        """Look again when the token is due, or the wait is over."""
        if self._closed:
            return
        wait = max(ASK_SECONDS_MIN, self._keeper.ask_at() - self._clock())
        if self._refresh_tokens.unsaved:
            wait = min(wait, SAVE_AGAIN_SECONDS)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait, self._look)

    def _look(self) -> None:
        if self._clock() >= self._keeper.ask_at():
            self._renew()
        elif self._refresh_tokens.unsaved:
            self._renewal = asyncio.create_task(self._save())
        else:
            self._schedule()  # the clock was set back

    async def _save(self) -> None:
        try:
            await asyncio.to_thread(self._refresh_tokens.save, self._oauth.timeout_seconds)
        finally:
            self._renewal = None
            self._schedule()

    def _tell(self, before: Trouble | None) -> None:
        """Lines for people, once for each change, and the standing for gauges."""
        standing, trouble = self.standing, self._keeper.trouble
        said = log.bind(**self._owner.bound(self._name))
        if trouble is None and before is not None:
            said.info("oauth_works_again")
        elif trouble is not None and (before is None or before.reply != trouble.reply):
            say = said.error if standing.broken else said.warning
            say("oauth_broken" if standing.broken else "oauth_unavailable", reason=standing.words)
        if standing.warns and standing.days_left is not None:
            days = int(standing.days_left)
            if days != self._days_warned:
                self._days_warned = days
                reason = "the grant ends; a person must give it anew and set the new refresh_token"
                said.warning("oauth_grant_ends", days_left=days, reason=reason)
        else:
            self._days_warned = None
        if self._note is not None:
            self._note(standing)
