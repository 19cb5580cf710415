"""The time that a relay names in its words: how long it asks us to wait."""

import re

WAIT_SECONDS_MAX = 86400.0  # no relay's quota window is longer than a day

_UNIT_SECONDS = {"mill": 0.001, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# "After" alone would take a timeout that has passed for one that is asked for.
_WAIT_WORDS = (
    r"\b(?:again|retry|wait|back ?off|come back|resum\w{0,5}|delay\w{0,5}"
    r"|(?:gr[ae]y ?list\w{0,5}|limited|blocked|deferred|suspended|locked) for"
    r"|(?:available|allowed|lifted|reset|expires?|released) (?:in|after))\b"
)
_WAIT_HINT = re.compile(
    _WAIT_WORDS
    + r"\D{0,30}?(?:(?P<clock>\d{1,2}:\d\d(?::\d\d)?)|(?P<count>\d{1,9})\s?"
    + r"(?P<unit>milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)\b)",
    re.IGNORECASE,
)


def wait_hint(text: str) -> float | None:
    """The time in seconds that a reply asks us to wait, at most a day: `try again in 299 seconds`, `come back in 00:05:00`."""
    found = _WAIT_HINT.search(text)
    if found is None:
        return None
    if found["clock"]:
        parts = [int(part) for part in found["clock"].split(":")]
        seconds = float(sum(part * unit for part, unit in zip(reversed(parts), (1, 60, 3600), strict=False)))
    else:
        unit = found["unit"].lower()
        seconds = int(found["count"]) * next(
            size for start, size in _UNIT_SECONDS.items() if unit.startswith(start)
        )
    return min(seconds, WAIT_SECONDS_MAX)
