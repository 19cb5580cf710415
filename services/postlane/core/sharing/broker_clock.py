"""What time it is on the brokers' clock, as bounds: the only wall clock that sharing trusts.

Every record bears the time at which a broker appended it (message.timestamp.type = LogAppendTime). A record that we have read was appended before; one that
we wrote, after. In between our monotonic clock counts, with DRIFT. So no sender's wall clock matters, right or wrong or jumping, and a new allocator goes
on with the clock of its predecessor.
"""

from postlane.core.sharing.terms import DRIFT


class BrokerClock:
    """Bounds of the brokers' time in seconds since 1970; `now` is always the caller's monotonic clock."""

    def __init__(self) -> None:
        self._read: tuple[float, float] | None = None  # (appended, our clock when it was read)
        self._written: tuple[float, float] | None = None  # (appended, our clock before it was written)

    def was_read(self, appended: float, now: float) -> None:
        """A record with this time was read now."""
        earliest = self.earliest(now)
        if earliest is None or appended > earliest:
            self._read = appended, now

    def was_written(self, appended: float, decided: float, now: float) -> None:
        """A record that we decided at `decided` bears this time."""
        latest = self.latest(now)
        if latest is None or _latest(appended, decided, now) < latest:
            self._written = appended, decided

    def earliest(self, now: float) -> float | None:
        """It is at least so late; None where nothing was read yet."""
        return None if self._read is None else self._read[0] + (now - self._read[1]) / (1 + DRIFT)

    def latest(self, now: float) -> float | None:
        """It is at most so late; None where nothing of ours was read back yet."""
        return None if self._written is None else _latest(*self._written, now)


def _latest(appended: float, decided: float, now: float) -> float:
    return appended + (now - decided) / (1 - DRIFT)
