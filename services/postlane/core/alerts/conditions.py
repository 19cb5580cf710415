"""What is wrong, from plain observations of the outbound service.

A held relay has one alert, by the cause of its hold: a login that a person must repair, a relay that cannot be used, or a limit that
becomes worth a word only when it lasts.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from postlane.core.alerts.catalogue import AlertName
from postlane.core.alerts.raising import Condition
from postlane.core.instants import iso_utc
from postlane.core.limits.permission import Hold
from postlane.core.smtp.smtp_reply import one_line

LOGIN_CAUSES = frozenset({"auth"})
CIRCUIT_CAUSES = frozenset({"connection", "connection_lost", "tls", "too_many_dead", "relay_refused"})

CAUSE_GRANT_ENDS = "grant_ends"
CAUSE_DISTRUSTED = "distrusted"
CAUSE_DEAD_LETTERS = "dead_letters"
CAUSE_BACKLOG = "backlog"

REASON_MAX = 500  # characters of a relay's words that are passed on
HOUR_SECONDS = 3600.0
SAMPLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySeen:
    """How a relay stands. `login_trouble`: why a person must repair its login, also where no mail has met that yet.

    `grant_days_left`: until its OAuth 2 grant must be given anew; None where it does not end, or not soon. `distrusted`: mails about which
    it said that it distrusts us, since the process began; `distrust` are its last words about it.
    """

    relay: str
    hold: Hold | None = None
    login_trouble: str | None = None
    grant_days_left: float | None = None
    distrusted: int = 0
    distrust: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at the service.

    `oldest_ready_seconds`: how long the mail has been waiting that may go and has waited longest. `dead_letters`: written since the process began.
    """

    relays: tuple[RelaySeen, ...] = ()
    oldest_ready_seconds: float = 0.0
    dead_letters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From when on something is worth an alert."""

    held_seconds: float
    circuit_seconds: float
    backlog_seconds: float
    dlq_mails_per_hour: int
    distrusted_mails_per_hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LastHour:
    """What was counted within the last hour; `distrusted` by relay."""

    dead_letters: int = 0
    distrusted: Mapping[str, int] = field(default_factory=dict)


class HourCount:
    """By how much a total has grown within the last hour, exact to a minute."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def within_hour(self, total: int, now: float) -> int:
        """From the total since the process began."""
        samples = self._samples
        if not samples:
            samples.append((now, 0))
        if now - samples[-1][0] >= SAMPLE_SECONDS:
            samples.append((now, total))
        while len(samples) > 1 and samples[1][0] <= now - HOUR_SECONDS:
            samples.popleft()
        return total - samples[0][1]


def conditions(seen: Seen, last_hour: LastHour, limits: Thresholds, now: float) -> tuple[Condition, ...]:
    """All that hold at `now` (seconds since 1970), however shortly."""
    return (
        *(condition for relay in seen.relays for condition in _of_relay(relay, limits, now)),
        *(condition for relay in seen.relays for condition in _of_distrust(relay, last_hour, limits, now)),
        *_of_service(seen, last_hour.dead_letters, limits, now),
    )


def _of_relay(relay: RelaySeen, limits: Thresholds, now: float) -> Iterator[Condition]:
    hold = relay.hold
    if hold is not None and hold.cause not in LOGIN_CAUSES:
        yield _of_hold(hold, limits)
    elif hold is not None or relay.login_trouble is not None:
        yield Condition(
            alert=AlertName.RELAY_LOGIN_BROKEN,
            subject=relay.relay,
            since=now if hold is None else hold.since,
            cause="auth" if hold is None else hold.cause,
            reason=one_line(relay.login_trouble or "" if hold is None else hold.reason, REASON_MAX),
        )
    if relay.grant_days_left is not None:
        yield Condition(
            alert=AlertName.RELAY_GRANT_ENDS,
            subject=relay.relay,
            since=now,
            cause=CAUSE_GRANT_ENDS,
            reason=f"{relay.grant_days_left:.0f} days are left",
        )


def _of_hold(hold: Hold, limits: Thresholds) -> Condition:
    broken = hold.cause in CIRCUIT_CAUSES
    end = "until a person resumes it" if hold.until is None else f"tried again about {iso_utc(hold.until)}"
    return Condition(
        alert=AlertName.RELAY_CIRCUIT_OPEN if broken else AlertName.RELAY_HELD,
        subject=hold.relay,
        since=hold.since,
        cause=hold.cause,
        reason=f"{one_line(hold.reason, REASON_MAX)}; {end}",
        for_seconds=limits.circuit_seconds if broken else limits.held_seconds,
    )


def _of_distrust(
    relay: RelaySeen, last_hour: LastHour, limits: Thresholds, now: float
) -> Iterator[Condition]:
    mails = last_hour.distrusted.get(relay.relay, 0)
    if mails > limits.distrusted_mails_per_hour:
        words = one_line(relay.distrust, REASON_MAX)
        yield Condition(
            alert=AlertName.RELAY_DISTRUSTED,
            subject=relay.relay,
            since=now,
            cause=CAUSE_DISTRUSTED,
            reason=f"it did not want {mails} mails within an hour; more than {limits.distrusted_mails_per_hour} are worth an alert; last: {words}",
        )


def _of_service(seen: Seen, dead_within_hour: int, limits: Thresholds, now: float) -> Iterator[Condition]:
    if dead_within_hour > limits.dlq_mails_per_hour:
        yield Condition(
            alert=AlertName.DEAD_LETTERS_GROW,
            subject="",
            since=now,
            cause=CAUSE_DEAD_LETTERS,
            reason=f"{dead_within_hour} mails became dead letters within an hour; more than {limits.dlq_mails_per_hour} are worth an alert",
        )
    if seen.oldest_ready_seconds > limits.backlog_seconds:
        yield Condition(
            alert=AlertName.BACKLOG_OLD,
            subject="",
            since=now - seen.oldest_ready_seconds,
            cause=CAUSE_BACKLOG,
            reason=f"the oldest has been waiting for {seen.oldest_ready_seconds / 60:.0f} minutes",
        )
