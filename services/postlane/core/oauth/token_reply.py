"""What a token endpoint's answer means (RFC 6749 section 5).

answer                                             means
token                                              Granted
error = temporarily_unavailable and the like       Unavailable: wait, the grant is as good as it was
429, 408, 5xx without another error                Unavailable
200 that holds no token                            Unavailable: something else answered in the endpoint's place
any other error: invalid_grant, invalid_client     Refused: nothing but a person can repair it
3xx, 4xx without an error                          Refused: token_url is not a token endpoint
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from postlane.core.smtp.smtp_reply import one_line

LIFETIME_SECONDS_ASSUMED = (
    3600.0  # where the endpoint names none (RFC 6749 section 5.1 allows it); most say an hour
)
LIFETIME_SECONDS_MAX = 86_400.0  # a token that lives longer is renewed daily all the same
GRANT_SECONDS_MAX = 10 * 365 * 86_400.0  # more is a provider's way to say never
WAIT_SECONDS_MAX = 3600.0  # mail waits for it
WORDS_MAX = 300  # characters of an endpoint's explanation that are kept
TOKEN_CHARACTERS_MAX = 8192  # AUTH takes 12,288 characters of Base64 (RFC 4954 section 4)

_ERRORS_THAT_PASS = frozenset({"temporarily_unavailable", "server_error", "slow_down", "rate_limit_exceeded"})
_STATUSES_THAT_PASS = frozenset({408, 425, 429})
_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{TOKEN_CHARACTERS_MAX}}}")  # no %x01, which would end it early
_ERROR = re.compile(r"[A-Za-z0-9_.:/ -]{1,80}")
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A token. `refresh_token` where the endpoint gave a new one; `grant_seconds` where it told how long the refresh token lives."""

    access_token: str = field(repr=False)
    lifetime_seconds: float
    refresh_token: str | None = field(default=None, repr=False)
    grant_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A person must repair the grant, the client or the configuration. `short` goes on after "the token endpoint"; `words` may be the endpoint's."""

    short: str
    words: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """No token now, perhaps later. `words` are ours; `wait_seconds` is what the endpoint asked for."""

    words: str
    wait_seconds: float | None = None


TokenReply = Granted | Refused | Unavailable


def read_token_reply(status: int, headers: Mapping[str, str], body: bytes) -> TokenReply:
    """The meaning of an HTTP answer; names of headers are in lower case. The words may still hold secrets that the endpoint repeats."""
    said = _json_object(body)
    if said is not None and isinstance(said.get("error"), str):
        return _error(status, headers, said)
    if status == 200:
        return _granted(headers, said)
    if status in _STATUSES_THAT_PASS or status >= 500:
        return Unavailable(f"answers {status}", _wait(headers))
    if 300 <= status <= 399:
        return Refused(f"redirects ({status})", "token_url must be the token endpoint itself")
    return Refused(f"answers {status}", "check token_url")


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _error(status: int, headers: Mapping[str, str], said: dict[str, Any]) -> Refused | Unavailable:
    error = said["error"] if _ERROR.fullmatch(said["error"]) else "an error without a proper name"
    passes = error in _ERRORS_THAT_PASS or status in _STATUSES_THAT_PASS
    if passes or (status >= 500 and not error.startswith("invalid_")):
        return Unavailable(f"answers {status}: {error}", _wait(headers))
    description = said.get("error_description")
    return Refused(
        f"refuses: {error}", one_line(description, WORDS_MAX) if isinstance(description, str) else ""
    )


def _granted(headers: Mapping[str, str], said: dict[str, Any] | None) -> Granted | Unavailable:
    if said is None:
        found = _MEDIA_TYPE.match(headers.get("content-type", "").lower())
        return Unavailable(f"answers with {found[0] if found else 'something'} that is no JSON object")
    token, kind = said.get("access_token"), said.get("token_type", "bearer")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        return Unavailable("answers without an access token that can be used")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return Unavailable("answers with an access token that is no bearer token")
    lifetime = _seconds(said.get("expires_in"), LIFETIME_SECONDS_MAX)
    if lifetime is not None and lifetime <= 0:
        return Unavailable("answers with an access token that has expired already")
    refresh_token = said.get("refresh_token")
    told = said.get("refresh_token_expires_in", said.get("refresh_expires_in"))
    grant_seconds = _seconds(told, GRANT_SECONDS_MAX)
    return Granted(
        access_token=token,
        lifetime_seconds=LIFETIME_SECONDS_ASSUMED if lifetime is None else lifetime,
        refresh_token=refresh_token if isinstance(refresh_token, str) and refresh_token else None,
        # Keycloak says 0 for a refresh token that never expires.
        grant_seconds=grant_seconds if grant_seconds and 0 < grant_seconds < GRANT_SECONDS_MAX else None,
    )


def _seconds(value: object, seconds_max: float) -> float | None:
    """A number of seconds; some endpoints write it as a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return min(seconds, seconds_max) if math.isfinite(seconds) else None


def _wait(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds (RFC 9110 section 10.2.3); a date is left to our own waits."""
    named = headers.get("retry-after", "").strip()
    return min(float(named), WAIT_SECONDS_MAX) if named.isdecimal() and named.isascii() else None
