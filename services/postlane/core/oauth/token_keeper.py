"""When an access token is used, renewed or missed, and what is said in its place.

token            endpoint            a session gets
fresh            whatever            the token
due              not asked yet       the token, and a renewal begins
due              in trouble          the token, as long as it lives; the endpoint is asked again when its wait is over
none, expired    not asked yet       whatever the renewal brings
none, expired    in trouble          the trouble's reply: 454 while waiting may help, 535 where a person must repair the grant

A relay that refuses a living token gets another one, once: a token that was got for a refusal and is refused in turn shows that the
grant, not the token, is at fault.
"""

from dataclasses import dataclass, field
from math import ceil
from typing import assert_never

from postlane.core.events.status import SmtpReply
from postlane.core.oauth.grant_expiry import GrantExpiry, told
from postlane.core.oauth.token_reply import Granted, Refused, TokenReply, Unavailable
from postlane.core.smtp.smtp_terms import own_words
from postlane.core.smtp.transcript import Phase

RENEW_SHARE = 0.6  # of its life: an hour's token then outlives twenty minutes without the endpoint
RENEW_JITTER_SHARE = 0.15  # so that many senders do not ask together
END_MARGIN_SHARE, END_MARGIN_SECONDS_MAX = 0.1, 60.0  # not used so near its end: the relay's clock differs
WAIT_SECONDS, WAIT_SECONDS_MAX = 5.0, 300.0  # while the endpoint is away: doubled each time
REFUSED_WAIT_SECONDS, REFUSED_WAIT_SECONDS_MAX = 60.0, 900.0  # a person must act first
WAIT_JITTER_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token with the times (seconds since 1970) from which it should be renewed and may no longer be used."""

    value: str = field(repr=False)
    renew_at: float
    ends_at: float
    for_refusal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why there is no new token. `times` in a row, `ask_at`: not asked again before. `words` may name more than a status should."""

    reply: Refused | Unavailable
    times: int
    ask_at: float

    @property
    def broken(self) -> bool:
        """Whether a person must act."""
        return isinstance(self.reply, Refused)

    @property
    def words(self) -> str:
        """What the endpoint did, for people."""
        match self.reply:
            case Refused(short, words):
                return short + (f": {words}" if words else "")
            case Unavailable(words):
                return words
            case _:
                assert_never(self.reply)


class TokenKeeper:
    """The token of one relay's account in one process."""

    def __init__(self) -> None:
        self.token: Token | None = None
        self.trouble: Trouble | None = None
        self.grant: GrantExpiry | None = None
        self._wanted = False  # the relay refused the token

    def usable(self, now: float) -> Token | None:
        """The token, if a relay should take it."""
        return (
            self.token if self.token is not None and now < self.token.ends_at and not self._wanted else None
        )

    def ask_at(self) -> float:
        """When the endpoint is to be asked next."""
        due = 0.0 if self.token is None or self._wanted else self.token.renew_at
        return due if self.trouble is None else max(due, self.trouble.ask_at)

    def answered(self, reply: TokenReply, now: float, jitter: float) -> None:
        """The endpoint's answer is there; `jitter` lies in 0..1."""
        if not isinstance(reply, Granted):
            self.trouble = self._trouble(reply, now, jitter)
            return
        life = reply.lifetime_seconds
        self.token = Token(
            value=reply.access_token,
            renew_at=now + life * (RENEW_SHARE + RENEW_JITTER_SHARE * jitter),
            ends_at=now + life - min(life * END_MARGIN_SHARE, END_MARGIN_SECONDS_MAX),
            for_refusal=self._wanted,
        )
        self.trouble, self._wanted = None, False
        if reply.grant_seconds is not None:
            rotated = reply.refresh_token is not None
            self.grant = told(self.grant, reply.grant_seconds, now, rotated=rotated)

    def refused_by_relay(self, token: Token) -> bool:
        """The relay refuses this token, which its clock says is alive; whether another one is worth a try."""
        if token is not self.token:
            return True  # replaced meanwhile
        if token.for_refusal:
            return False
        self._wanted = True
        return True

    def taken_by_relay(self, token: Token) -> None:
        """The relay takes this token: should it be refused later, that is news."""
        if token is self.token and token.for_refusal:
            self.token = Token(value=token.value, renew_at=token.renew_at, ends_at=token.ends_at)

    def reply(self, now: float) -> SmtpReply:
        """What is said in the relay's place while there is no token: without the endpoint's own words, which stand in the log."""
        match self.trouble:
            case Trouble(reply=Refused(short)):
                words = f"no access token: the token endpoint {short}; a person must repair it"
                return own_words(Phase.AUTH, 535, "5.7.8", words)  # RFC 4954 section 6
            case Trouble() as trouble:
                seconds = max(1, ceil(trouble.ask_at - now))
                words = f"no access token: the token endpoint {trouble.words}; asked again in {seconds} s"
            case None:
                words = "no access token: the token endpoint has not answered yet"
            case _:
                assert_never(self.trouble)
        return own_words(Phase.AUTH, 454, "4.7.0", words)

    def _trouble(self, reply: Refused | Unavailable, now: float, jitter: float) -> Trouble:
        before = self.trouble
        times = 1 if before is None or type(before.reply) is not type(reply) else before.times + 1
        match reply:
            case Unavailable(wait_seconds=float() as wait_seconds):
                wait = wait_seconds
            case Unavailable():
                wait = min(WAIT_SECONDS * 2 ** min(times - 1, 10), WAIT_SECONDS_MAX)
            case Refused():
                wait = min(REFUSED_WAIT_SECONDS * 2 ** min(times - 1, 10), REFUSED_WAIT_SECONDS_MAX)
            case _:
                assert_never(reply)
        return Trouble(reply=reply, times=times, ask_at=now + wait * (1 + WAIT_JITTER_SHARE * jitter))
