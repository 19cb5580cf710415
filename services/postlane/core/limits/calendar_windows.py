"""The hour or day of a time zone that a moment lies in. A day has 23 or 25 hours where clocks are changed."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from postlane.core.limits.budgets import Period

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HOUR_US = Period.HOUR.us


@dataclass(frozen=True, slots=True)
class Window:
    """From its begin up to `end_us`, which is the next one's; `day` is the local date."""

    end_us: int
    day: date


def window_at(now_us: int, period: Period, zone: tzinfo) -> Window:
    """The calendar hour or day that `now_us` lies in."""
    local = (_EPOCH + now_us * _MICROSECOND).astimezone(zone)
    if period is Period.HOUR:
        offset_us = (local.utcoffset() or timedelta()) // _MICROSECOND
        return Window(((now_us + offset_us) // _HOUR_US + 1) * _HOUR_US - offset_us, local.date())
    return Window(midnight_us(local.date() + timedelta(days=1), zone), local.date())


def midnight_us(day: date, zone: tzinfo) -> int:
    """When a local date begins.

    Where clocks skip midnight, that is the moment of the skip, and where it comes twice, the first one: both are what Python
    makes of `fold` 0 (PEP 495).
    """
    return (datetime.combine(day, time(), zone) - _EPOCH) // _MICROSECOND
