"""Lets a long command write no faster than it was told to."""

import time
from collections.abc import Callable

from postlane.core.replay_rate import ReplayClock, ReplayRate


class Pacer:
    """Sleeps before a batch; `clock` is in seconds and does not go back."""

    def __init__(
        self,
        rate: ReplayRate,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._due = ReplayClock(rate)
        self._clock = clock
        self._sleep = sleep

    def wait(self, mails: int) -> None:
        """Return when a batch of so many may be written, which it then is."""
        seconds = self._due.wait_seconds(self._clock())
        if seconds > 0:
            self._sleep(seconds)
        self._due.written(mails, self._clock())
