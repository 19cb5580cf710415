"""Times as people type them: an age such as `15m` or `2d`, a date, or a point in time."""

import re
from datetime import UTC, datetime, timedelta

_AGE = re.compile(r"(?P<count>\d+)(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read_past(text: str, now: datetime) -> datetime:
    """`30s`, `15m`, `2h`, `3d` ago, or ISO 8601 (UTC unless it says otherwise). Raises ValueError with the accepted forms."""
    return _read(text, now, -1)


def read_future(text: str, now: datetime) -> datetime:
    """The same from now on: `2h` is in two hours."""
    return _read(text, now, 1)


def _read(text: str, now: datetime, direction: int) -> datetime:
    age = _AGE.fullmatch(text.strip())
    if age is not None:
        return now + direction * timedelta(**{_UNITS[age["unit"]]: int(age["count"])})
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a span (30s, 15m, 2h, 3d) nor ISO 8601 (2026-01-31T08:00)"
        ) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
