"""What a server's refusal means: whether a person must act, and how long to stay away. Ordered rules, the first that fits holds."""

import re
from dataclasses import dataclass

from postlane.core.imap.responses import Status

WAIT_SECONDS_MAX = 3600.0
LIMIT_WAIT_SECONDS = (
    60.0  # where a limit is named without a time: sessions that were cut off live on for a while
)
BUSY_WAIT_SECONDS = 15.0

_BACKOFF = re.compile(r"Suggested Backoff Time: (\d{1,9}) milliseconds", re.IGNORECASE)  # Exchange Online


@dataclass(frozen=True, slots=True)
class Rule:
    """`pattern` is looked for in `[CODE] words`. `limit`: fewer sessions or requests are wanted; `auth`: a person must act."""

    pattern: "re.Pattern[str]"
    wait_seconds: float | None = None
    limit: bool = False
    auth: bool = False


def _rule(pattern: str, **meaning: float | bool) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE), **meaning)  # type: ignore[arg-type]


RULES = (
    _rule(r"suggested backoff time", limit=True),
    _rule(r"^\[(THROTTLED|LIMIT|OVERQUOTA)\b", limit=True, wait_seconds=LIMIT_WAIT_SECONDS),  # RFC 5530
    _rule(r"^\[INUSE\b", limit=True, wait_seconds=BUSY_WAIT_SECONDS),
    _rule(r"^\[(UNAVAILABLE|SERVERBUG|TEMPFAIL)\b", wait_seconds=BUSY_WAIT_SECONDS),
    # Gmail: "[ALERT] Too many simultaneous connections. (Failure)"; Dovecot: "Maximum number of connections from user+IP exceeded".
    _rule(r"too many .{0,40}(connections|logins|sessions)", limit=True, wait_seconds=LIMIT_WAIT_SECONDS),
    _rule(r"maximum number of connections", limit=True, wait_seconds=LIMIT_WAIT_SECONDS),
    _rule(r"throttl|rate.?limit|bandwidth limit", limit=True, wait_seconds=LIMIT_WAIT_SECONDS),
    # Exchange Online, for a limit as well as for a mailbox or scope that the login has no right to.
    _rule(r"authenticated but not connected", limit=True, wait_seconds=LIMIT_WAIT_SECONDS),
    _rule(r"temporar(y|ily)|try again later|internal error", wait_seconds=BUSY_WAIT_SECONDS),
    _rule(
        r"^\[(AUTHENTICATIONFAILED|AUTHORIZATIONFAILED|EXPIRED|PRIVACYREQUIRED|CONTACTADMIN|WEBALERT)\b",
        auth=True,
    ),
)
NO_RULE = Rule(re.compile(""))


@dataclass(frozen=True, slots=True)
class Refusal:
    """`wait_seconds` where the server named a time, or a limit that passes."""

    auth: bool
    limit: bool
    wait_seconds: float | None


def read_refusal(said: Status, *, at_login: bool) -> Refusal:
    """What NO, BAD or BYE means; what no rule knows is a person's business at login, and else nobody's."""
    found = next((rule for rule in RULES if rule.pattern.search(said.words)), None)
    rule = found or NO_RULE
    auth = rule.auth or (at_login and found is None and said.word == "NO")
    return Refusal(auth, rule.limit, backoff_seconds(said.words) or rule.wait_seconds)


def backoff_seconds(text: str) -> float | None:
    """The wait that a throttling server asks for."""
    found = _BACKOFF.search(text)
    return min(int(found[1]) / 1000, WAIT_SECONDS_MAX) if found else None
