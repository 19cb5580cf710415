"""Whether a relay takes mail at all: a circuit breaker with a single probe.

state     event      next state
OPEN      refused    HELD      until now + wait
HELD      due        PROBING   exactly one mail may start
HELD      hastened   PROBING   as if due, because a person says so
PROBING   refused    HELD      twice as long, up to the maximum
PROBING   answered   OPEN

Every mail belongs to the round in which it started, and only what mails of the running round say moves the circuit: a late refusal of
mail that was in flight beside the first one is the same refusal, and a late answer proves nothing about now. "Open" is the relay, as
in the gate of a lock: mail goes through.
"""

from dataclasses import dataclass, replace
from enum import Enum
from math import isfinite

from postlane.core.limits.limit import BadLimitState, Plain, count

WAIT_SECONDS_MIN = 1.0  # a relay that names no time at all, "again in 0 seconds", is not to be hammered
_DOUBLINGS_MAX = 32  # by then every wait has reached its maximum


class CircuitState(Enum):
    """See the module's table."""

    OPEN = "open"
    HELD = "held"
    PROBING = "probing"


class Signal(Enum):
    """What moves a circuit."""

    REFUSED = "refused"
    DUE = "due"
    HASTENED = "hastened"
    ANSWERED = "answered"


TRANSITIONS = {
    (CircuitState.OPEN, Signal.REFUSED): CircuitState.HELD,
    (CircuitState.HELD, Signal.DUE): CircuitState.PROBING,
    (CircuitState.HELD, Signal.HASTENED): CircuitState.PROBING,
    (CircuitState.PROBING, Signal.REFUSED): CircuitState.HELD,
    (CircuitState.PROBING, Signal.ANSWERED): CircuitState.OPEN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitPolicy:
    """`jitter_share` lengthens a hold by up to that share, so that senders do not probe together."""

    hold_seconds: float
    hold_seconds_max: float
    jitter_share: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The relay took nothing at all, `wait_seconds` if it named a time; `jitter` in [0, 1)."""

    cause: str
    reason: str
    wait_seconds: float | None
    jitter: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """Why the relay is held, since when, and when it will be probed (seconds since 1970)."""

    cause: str
    reason: str
    since: float
    until: float


class Circuit:
    """One relay's, as one sender process knows it. `trip` stands until a probe has been answered."""

    def __init__(self, policy: CircuitPolicy) -> None:
        self.state = CircuitState.OPEN
        self.trip: Trip | None = None
        self.round = 0
        self._policy = policy
        self._refusals = 0

    def at(self, now: float) -> CircuitState:
        """The state at this time: a hold whose time is over becomes a probe."""
        if self.state is CircuitState.HELD and self.trip is not None and now >= self.trip.until:
            self._move(Signal.DUE)
        return self.state

    def refused(self, refusal: Refusal, round_: int, now: float) -> bool:
        """Hold the relay, or wait longer where a mail of an earlier round was told to; True when a hold begins."""
        if round_ != self.round or self.state is CircuitState.HELD:
            self._extend(refusal, now)
            return False
        self._move(Signal.REFUSED)
        self.round += 1
        since = now if self.trip is None else self.trip.since
        until = now + self._stretched(self._wait(refusal), refusal)
        self.trip = Trip(cause=refusal.cause, reason=refusal.reason, since=since, until=until)
        self._refusals += 1
        return True

    def answered(self, round_: int) -> bool:
        """The relay judged a mail on its merits; True when that ends a hold."""
        if round_ != self.round or self.state is not CircuitState.PROBING:
            return False
        self._move(Signal.ANSWERED)
        self.trip, self._refusals = None, 0
        return True

    def hasten(self, now: float) -> bool:
        """A person wants a held relay to be probed now; True where that changes anything.

        What he has mended is news: a refused probe waits as a first refusal does, and no longer for those before.
        """
        if self.at(now) is not CircuitState.HELD or self.trip is None:
            return False
        self._move(Signal.HASTENED)
        self.trip, self._refusals = replace(self.trip, until=now), 0
        return True

    def export(self) -> Plain | None:
        """What must survive a restart; None for an open circuit."""
        trip = self.trip
        if trip is None:
            return None
        words: Plain = {"cause": trip.cause, "reason": trip.reason}
        return words | {"since": float(trip.since), "until": float(trip.until), "refusals": self._refusals}

    def restore(self, state: Plain) -> None:
        """Be held as that process was; its probe, if one was under way, is made anew. Raises BadLimitState."""
        match state:
            case {
                "cause": str(cause),
                "reason": str(reason),
                "since": float(since),
                "until": float(until),
            } if isfinite(since) and isfinite(until):
                self._refusals = count(state, "refusals")
                self.trip = Trip(cause=cause, reason=reason, since=since, until=until)
                self.state = CircuitState.HELD
            case _:
                raise BadLimitState(f"{state!r} is not a hold: cause, reason, since, until and refusals")

    def _extend(self, refusal: Refusal, now: float) -> None:
        if self.state is not CircuitState.HELD or self.trip is None or refusal.wait_seconds is None:
            return
        until = now + self._stretched(refusal.wait_seconds, refusal)
        if until > self.trip.until:
            self.trip = replace(self.trip, until=until)

    def _wait(self, refusal: Refusal) -> float:
        """The relay's own wait or ours, doubled for each refused probe; never shorter than what the relay named."""
        named = refusal.wait_seconds
        first = self._policy.hold_seconds if named is None else max(named, WAIT_SECONDS_MIN)
        doubled = first * 2.0 ** min(self._refusals, _DOUBLINGS_MAX)
        return max(named or 0.0, min(doubled, self._policy.hold_seconds_max))

    def _stretched(self, seconds: float, refusal: Refusal) -> float:
        return seconds * (1 + self._policy.jitter_share * refusal.jitter)

    def _move(self, signal: Signal) -> None:
        self.state = TRANSITIONS[self.state, signal]
