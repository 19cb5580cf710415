"""The spans of time in which a budget's units are counted. All times are seconds since 1970 on the brokers' clock."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Protocol

SLICES = 96  # of a rolling window: a day's come free every 15 minutes, and a snapshot holds no more than so many numbers


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """From `starts` up to, and without, `ends`; whole seconds."""

    starts: int
    ends: int


class Window(Protocol):
    """What one budget counts in: the time line cut into spans, and how long a span's units go on counting after its end."""

    @property
    def length_seconds(self) -> float:
        """How long the window is, roughly where its length varies."""

    @property
    def reach_seconds(self) -> float:
        """How long after the end of a span its units still count: 0 for a calendar, the length for a rolling window."""

    def span(self, at: float) -> Span:
        """The span that a moment lies in."""


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """The days of a time zone, 23 to 25 hours long where clocks are changed."""

    zone: tzinfo
    length_seconds: float = 86400.0
    reach_seconds: float = 0.0

    def span(self, at: float) -> Span:
        """The local day that a moment lies in; where clocks skip midnight it begins with the skip (PEP 495, fold 0)."""
        today = datetime.fromtimestamp(at, self.zone).date()
        midnight = (
            datetime.combine(day, time(), self.zone).timestamp() for day in (today, today + timedelta(days=1))
        )
        return Span(*(int(seconds) for seconds in midnight))


@dataclass(frozen=True, slots=True)
class CalendarHour:
    """The hours of a time zone; not all zones lie whole hours apart."""

    zone: tzinfo
    length_seconds: float = 3600.0
    reach_seconds: float = 0.0

    def span(self, at: float) -> Span:
        """The local hour that a moment lies in."""
        offset = datetime.fromtimestamp(at, self.zone).utcoffset() or timedelta()
        shift = int(offset.total_seconds())
        starts = int(at + shift) // 3600 * 3600 - shift
        return Span(starts, starts + 3600)


@dataclass(frozen=True, slots=True)
class Rolling:
    """Every span of that length: counted in slices, each until it lies wholly behind."""

    length_seconds: float

    @property
    def reach_seconds(self) -> float:
        """See Window."""
        return self.length_seconds

    def span(self, at: float) -> Span:
        """The slice that a moment lies in."""
        seconds = max(1, -(-int(self.length_seconds) // SLICES))
        starts = int(at // seconds) * seconds
        return Span(starts, starts + seconds)
