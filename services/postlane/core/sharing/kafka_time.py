"""What time of day it is for a sender: the brokers', counted on by a clock of our own that nobody sets.

A record of ours that we read back was appended after it was composed and before it was read. The first one sets the time; later ones move it by
less than DRIFT, so that it neither jumps nor stops, whatever happens to this machine's clock, or to a broker's. What holds for all senders (budgets,
holds, retries, `not_before`) thus happens at the same time for all, and a wait that has begun is not longer because a clock was set back.
"""

from postlane.core.sharing.terms import DRIFT


class KafkaTime:
    """Seconds since 1970; `wall` is this machine's time of day, good until the brokers' is known. `now` is always the same steady clock."""

    def __init__(self, wall: float, now: float) -> None:
        self.known = False
        self._offset = wall - now
        self._moved_at = now

    def at(self, now: float) -> float:
        """The time of day."""
        return now + self._offset

    def read_back(self, appended: float, composed: float, now: float) -> None:
        """A record that we composed at `composed` and have now read bears this time of a broker."""
        if not self.known:
            self.known, self._moved_at = True, now
            self._offset = appended - (composed + now) / 2
            return
        early, late = appended - self.at(now), appended - self.at(composed)
        wrong = max(early, 0.0) + min(late, 0.0)
        most = DRIFT * (now - self._moved_at)
        self._offset += max(-most, min(wrong, most))
        self._moved_at = now

    def skew(self, wall: float, now: float) -> float:
        """By how many seconds a clock that shows `wall` is ahead of the brokers'; 0 while theirs is not known."""
        return wall - self.at(now) if self.known else 0.0
