"""Whether this machine's time of day was set back while we ran.

librdkafka (2.16) ends its waits by the time of day, so each that is under way then lasts that much longer: heartbeats stop, and memberships and
reads stand, for hours if need be (its issue 2145). Only a new process is sure of its clients.
"""

SET_BACK_SECONDS_MAX = 5.0  # half a session time-out: shorter steps cost no membership


class ClockSteps:
    """Compares the time of day with a steady clock, look by look."""

    def __init__(self, wall: float, steady: float) -> None:
        self._wall, self._steady = wall, steady

    def set_back_seconds(self, wall: float, steady: float) -> float:
        """By how much it was set back since the last look; 0 where it went on, or was set forward."""
        expected = self._wall + steady - self._steady
        self._wall, self._steady = wall, steady
        return max(0.0, expected - wall)
