"""When a failed mail is tried again, or given up; time and jitter are arguments."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_STEP = re.compile(r"(?P<count>\d+(?:\.\d+)?)(?P<unit>[smhd])(?:\*(?P<times>[1-9]\d{0,3}))?")
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class BadSchedule(ValueError):
    """A retry schedule that cannot be read; the text names the step."""


def parse_schedule(text: str) -> tuple[float, ...]:
    """Read `30s, 2m*3, 1h` into delays in seconds; the last one repeats for ever. Raises BadSchedule."""
    delays: list[float] = []
    for step in text.split(","):
        match = _STEP.fullmatch(step.strip())
        if match is None:
            raise BadSchedule(f"{step.strip()!r} is not like 30s, 2m*3 or 1h (units s, m, h, d)")
        seconds = float(match["count"]) * _UNIT_SECONDS[match["unit"]]
        delays += [seconds] * int(match["times"] or 1)
    return tuple(delays)


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again at `due` (seconds since 1970)."""

    due: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The mail is too old, or would be at its next attempt."""

    reason: str


RetryDecision = RetryAt | GiveUp


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to wait after which failure.

    `jitter_share` spreads each delay by up to that share either way, so that mails refused together do not come
    back together. `by_cause` has other delays for some causes. Delays up to `memory_delay_seconds` wait in memory, longer ones in the journal.
    """

    delays_seconds: tuple[float, ...]
    jitter_share: float
    age_max_seconds: float
    memory_delay_seconds: float
    by_cause: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def after_failure(self, attempt: int, now: float, age_seconds: float, wait: "Wait") -> RetryDecision:
        """Decide what follows the `attempt`-th failure (from 1) of a mail of this age (held time not counted)."""
        if wait.expires_at is not None and now >= wait.expires_at:
            return GiveUp("the request's own expires_at has passed")
        delays = self.by_cause.get(wait.cause, self.delays_seconds)
        base = delays[min(attempt, len(delays)) - 1]
        delay = base * (1 + self.jitter_share * (2 * wait.jitter - 1))
        if wait.asked_seconds is not None:
            # A wait named by the relay is a floor, but "at once" (the rest of a split mail) is taken at its word.
            delay = 0.0 if wait.asked_seconds == 0 else max(delay, wait.asked_seconds)
        if age_seconds + delay > self.age_max_seconds:
            return GiveUp(f"not delivered within {self.age_max_seconds / 3600:g} h after {attempt} attempts")
        due = now + delay
        return RetryAt(due if wait.expires_at is None else min(due, wait.expires_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What bears on one delay: why the mail failed, `jitter` in [0, 1), the wait that the relay asked for, the request's own end of life."""

    cause: str
    jitter: float
    asked_seconds: float | None = None
    expires_at: float | None = None
