"""Time as whole microseconds since 1970, so that windows add up exactly; seconds are for the outside.

A float of seconds resolves about a quarter of a microsecond today, so it comes back from `to_seconds` as the same microsecond.
"""

MICRO = 1_000_000


def to_us(seconds: float) -> int:
    """The nearest microsecond."""
    return round(seconds * MICRO)


def to_seconds(us: int) -> float:
    """Seconds that `to_us` turns into the same microsecond."""
    return us / MICRO
