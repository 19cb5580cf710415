"""When people are told: an alert is raised once, repeated at long intervals, and cleared when it has been quiet for a while.

state     what is observed                        next state   effect
QUIET     the condition, for its `for_seconds`    RAISED       Raise
RAISED    the condition                           RAISED       Remind, once in `repeat_seconds`
RAISED    nothing, for the alert's calm           QUIET        Clear
RAISED    nothing, and another process has it     QUIET        Clear, elsewhere
QUIET     nothing, for `repeat_seconds`           forgotten

The calm is `settle_seconds`, doubled each time the alert comes back before it is forgotten, up to `repeat_seconds`: what goes on and off is
told of a few times and then stands.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from postlane.core.alerts.catalogue import AlertName

_DOUBLINGS_MAX = 32  # by then every calm has reached its maximum

Key = tuple[AlertName, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something is wrong now, `since` (seconds since 1970): raised once that is `for_seconds` ago.

    `subject` is the relay, or empty; `cause` a token for programs, `reason` one line for people.
    """

    alert: AlertName
    subject: str
    since: float
    cause: str
    reason: str
    for_seconds: float = 0.0

    @property
    def key(self) -> Key:
        """At most one alert stands for it."""
        return self.alert, self.subject


@dataclass(frozen=True, slots=True)
class Alert:
    """A raised alert with its condition as last seen, and how often people have been reminded of it."""

    condition: Condition
    raised_at: float
    reminders: int = 0


@dataclass(frozen=True, slots=True)
class Raise:
    """Tell people."""

    alert: Alert


@dataclass(frozen=True, slots=True)
class Remind:
    """Tell them again: it is still so."""

    alert: Alert


@dataclass(frozen=True, slots=True)
class Clear:
    """Tell them that it is over; `elsewhere`: for us, because another process has the subject now, or will have it, and raises what still stands."""

    alert: Alert
    elsewhere: bool = False


Effect = Raise | Remind | Clear

HasLeft = Callable[[Condition], bool]
"""Whether another process looks after the condition's subject now."""


def nothing_leaves(condition: Condition) -> bool:
    """For a process that keeps its subjects."""
    del condition
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often people hear of one alert."""

    settle_seconds: float
    repeat_seconds: float


@dataclass(slots=True)
class _Raised:
    alert: Alert
    seen_at: float
    told_at: float
    comebacks: int


@dataclass(frozen=True, slots=True)
class _Quiet:
    since: float
    comebacks: int


class Alerts:
    """What is raised now, as one process sees it; mutable, touched by `step` alone."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._states: dict[Key, _Raised | _Quiet] = {}

    @property
    def raised(self) -> tuple[Alert, ...]:
        """All that stand now."""
        return tuple(state.alert for state in self._states.values() if isinstance(state, _Raised))

    def holds(self, condition: Condition, now: float) -> Effect | None:
        """The condition is observed."""
        state = self._states.get(condition.key)
        if isinstance(state, _Raised):
            return self._goes_on(state, condition, now)
        if now - condition.since < condition.for_seconds:
            return None
        comebacks = 0 if state is None else state.comebacks + 1
        alert = Alert(condition, now)
        self._states[condition.key] = _Raised(alert, now, now, comebacks)
        return Raise(alert)

    def absent(self, seen: frozenset[Key], now: float, has_left: HasLeft = nothing_leaves) -> list[Effect]:
        """Every other condition is not."""
        effects: list[Effect] = []
        for key, state in list(self._states.items()):
            if key in seen:
                continue
            if isinstance(state, _Quiet):
                if now - state.since >= self.pace.repeat_seconds:
                    del self._states[key]
            elif has_left(state.alert.condition):
                # At once: the other process may raise it within seconds, and that must not be followed by our word that it is over.
                self._states[key] = _Quiet(now, state.comebacks)
                effects.append(Clear(state.alert, elsewhere=True))
            elif now - state.seen_at >= self._calm_seconds(state.comebacks):
                self._states[key] = _Quiet(now, state.comebacks)
                effects.append(Clear(state.alert))
        return effects

    def _goes_on(self, state: _Raised, condition: Condition, now: float) -> Effect | None:
        since = min(condition.since, state.alert.condition.since)
        state.seen_at = now
        state.alert = replace(state.alert, condition=replace(condition, since=since))
        if now - state.told_at < self.pace.repeat_seconds:
            return None
        state.told_at = now
        state.alert = replace(state.alert, reminders=state.alert.reminders + 1)
        return Remind(state.alert)

    def _calm_seconds(self, comebacks: int) -> float:
        doubled = self.pace.settle_seconds * 2.0 ** min(comebacks, _DOUBLINGS_MAX)
        return min(doubled, max(self.pace.settle_seconds, self.pace.repeat_seconds))


def step(
    alerts: Alerts, observed: Sequence[Condition], now: float, has_left: HasLeft = nothing_leaves
) -> list[Effect]:
    """What to tell people, from all conditions that hold at `now` (seconds since 1970)."""
    effects = [effect for condition in observed if (effect := alerts.holds(condition, now)) is not None]
    return effects + alerts.absent(frozenset(condition.key for condition in observed), now, has_left)
