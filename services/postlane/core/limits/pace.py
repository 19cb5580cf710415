"""How fast a relay is fed: slowed down by what it refuses as too much, sped up by what it takes (AIMD, after TCP, RFC 5681).

Width is how many mails may be in flight. After every hold it begins at 1 and grows by one an answer up to `threshold`, then by one
in ANSWERS_PER_STEP up to the connections there are. A throttle reply halves the threshold. Where it speaks of a rate, and we were
fast, starts are spread to half of what they lately were; while mail is taken, the rate is back after RECOVERY_SECONDS, and at twice
that rate the spreading ends.
"""

from collections import deque
from typing import Literal

from postlane.core.limits.microseconds import MICRO

SHRINK = 0.5
ANSWERS_PER_STEP = 100  # each probe of one connection more may cost a refusal, so it is rare
RECOVERY_SECONDS = 600.0
CREDIT_SECONDS_MAX = 60.0  # an answer proves something about the time before it, but not about a quiet night
MEASURE_SECONDS = 10  # what "lately" is
MEASURE_STARTS = 10  # fewer are no rate: then the wait itself is all that the relay can mean
PER_MINUTE_MIN = 1.0  # what mass senders fall back to where they are throttled (KumoMTA's shaping rules)
_CREDIT_US_MAX = round(CREDIT_SECONDS_MAX * MICRO)
CAUSES: dict[str, Literal["width", "both"]] = {"connections": "width", "rate": "both", "throttled": "both"}
"""The causes of replies that ask for less: fewer connections, or also a lower rate."""


class Pace:
    """One relay's, as one sender process knows it; `connections` bounds the width and may be changed at any time."""

    def __init__(self, connections: int) -> None:
        self.connections = connections
        self._width = self._threshold = float(connections)
        self._starts: deque[tuple[int, int]] = deque(
            maxlen=MEASURE_SECONDS
        )  # second and number of starts in it
        self._per_minute: float | None = None
        self._per_minute_us = self._lift_at = 0.0  # how it grows in a microsecond, and when it ends
        self._credited_us = self._started_us = 0

    @property
    def width(self) -> int:
        """How many mails may be in flight: 1 or more, unless there are no connections."""
        return min(max(1, int(self._width)), self.connections)

    @property
    def per_minute(self) -> float | None:
        """What starts are spread to; None where nothing was refused as too fast."""
        return self._per_minute

    def earliest(self, now_us: int) -> int:
        """When the next mail may start."""
        if self._per_minute is None:
            return now_us
        if now_us < self._started_us:
            return now_us  # the clock was set back: nothing waits for the old time
        return max(now_us, self._started_us + self._interval_us(self._per_minute))

    def describe(self) -> str:
        """How far starts are spread, for people."""
        if self._per_minute is None:
            return "starts are not spread"
        return f"starts are spread to {self._per_minute:.3g} a minute, because it refused more as too fast"

    def through(self, mails: int, now_us: int) -> int:
        """When the last of so many could start, were the pace to stay as it is."""
        if self._per_minute is None:
            return now_us
        return self.earliest(now_us) + (mails - 1) * self._interval_us(self._per_minute)

    def started(self, now_us: int) -> None:
        """A mail starts."""
        second = now_us // MICRO
        starts = self._starts.pop()[1] if self._starts and self._starts[-1][0] == second else 0
        self._starts.append((second, starts + 1))
        self._forget(now_us)
        self._started_us = now_us

    def throttled(self, cause: str, now_us: int) -> None:
        """The relay has begun to refuse; causes that do not speak of speed change nothing."""
        kind = CAUSES.get(cause)
        if kind is None:
            return
        self._threshold = max(1.0, min(self._width, self.connections) * SHRINK)
        if kind == "both":
            self._slow_down(now_us)

    def held(self) -> None:
        """Nothing goes out for a while: what then comes begins with a single mail."""
        self._width = 1.0

    def answered(self, now_us: int) -> None:
        """The relay judged a mail on its merits."""
        step = 1.0 if self._width < self._threshold else 1.0 / ANSWERS_PER_STEP
        self._width = min(self._width + step, float(max(1, self.connections)))
        if self._per_minute is not None:
            self._per_minute += self._per_minute_us * max(0, min(now_us - self._credited_us, _CREDIT_US_MAX))
            self._credited_us = now_us
            if self._per_minute >= self._lift_at:
                self._per_minute = None

    def _slow_down(self, now_us: int) -> None:
        known = [rate for rate in (self._per_minute, self._measured_per_minute(now_us)) if rate is not None]
        if not known:
            return
        before = min(known)
        self._per_minute = max(before * SHRINK, PER_MINUTE_MIN)
        self._per_minute_us = before * (1 - SHRINK) / (RECOVERY_SECONDS * MICRO)
        self._lift_at = 2 * before
        self._credited_us = now_us
        self._started_us = now_us

    def _measured_per_minute(self, now_us: int) -> float | None:
        self._forget(now_us)
        starts = sum(starts for _, starts in self._starts)
        if starts < MEASURE_STARTS:
            return None
        return starts * 60 / max(1, now_us // MICRO - self._starts[0][0] + 1)

    def _forget(self, now_us: int) -> None:
        while self._starts and self._starts[0][0] <= now_us // MICRO - MEASURE_SECONDS:
            self._starts.popleft()

    @staticmethod
    def _interval_us(per_minute: float) -> int:
        return round(60 * MICRO / per_minute)
