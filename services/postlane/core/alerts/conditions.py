"""What is wrong, from plain observations of the outbound service.

A held relay has an alert by the cause of its hold: a login that a person must repair, a relay that cannot be used, or a limit that
becomes worth a word only when it lasts. None is over for people only because another cause came first: not a broken relay's while it is
paused, and not a long wait's while the relay is broken.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import inf

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
CAUSE_SECTIONS = "sections_differ"
CAUSE_CLOCK = "clock_skew"

REASON_MAX = 500  # characters of a relay's words that are passed on
HOUR_SECONDS = 3600.0
SAMPLE_SECONDS = 60.0
CLOCK_SKEW_SECONDS_MAX = (
    5.0  # what budgets allow for between clocks (core.sharing.terms); NTP keeps to thousandths
)
SUSTAINS_SECONDS = inf  # so long must it last: it raises no alert, but one that stands goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySeen:
    """How a relay stands. `beneath`: what a person's pause hides. `login_trouble`: why a person must repair its login, also where no mail has met that yet.

    `grant_days_left`: until its OAuth 2 grant must be given anew; None where it does not end, or not soon. `distrusted`: mails about which
    it said that it distrusts us, since the process began; `distrust` are its last words about it. `differing`: which senders have another configuration of it, and in what.
    """

    relay: str
    hold: Hold | None = None
    beneath: Hold | None = None
    login_trouble: str | None = None
    grant_days_left: float | None = None
    distrusted: int = 0
    distrust: str = ""
    differing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at the service.

    `oldest_ready_seconds`: how long the mail has been waiting that may go and has waited longest. `dead_letters`: written since the process began.
    `clock_skew_seconds`: how far this machine's clock is ahead of the brokers'.
    """

    relays: tuple[RelaySeen, ...] = ()
    oldest_ready_seconds: float = 0.0
    dead_letters: int = 0
    clock_skew_seconds: float = 0.0


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
    holds = [hold for hold in (relay.hold, relay.beneath) if hold is not None]
    login = next((hold for hold in holds if hold.cause in LOGIN_CAUSES), None)
    found = [_of_hold(hold, limits) for hold in holds if hold is not login]
    yield from found
    if login is not None or relay.login_trouble is not None:
        yield Condition(
            alert=AlertName.RELAY_LOGIN_BROKEN,
            subject=relay.relay,
            since=now if login is None else login.since,
            cause="auth" if login is None else login.cause,
            reason=one_line(relay.login_trouble or "" if login is None else login.reason, REASON_MAX),
        )
    if holds and all(condition.alert is not AlertName.RELAY_HELD for condition in found):
        yield replace(_of_hold(holds[0], limits), alert=AlertName.RELAY_HELD, for_seconds=SUSTAINS_SECONDS)
    if relay.differing:
        yield Condition(
            alert=AlertName.RELAY_SECTIONS_DIFFER,
            subject=relay.relay,
            since=now,
            cause=CAUSE_SECTIONS,
            reason=one_line(f"other than here is the configuration of sender {relay.differing}", REASON_MAX),
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
    if abs(seen.clock_skew_seconds) > CLOCK_SKEW_SECONDS_MAX:
        side = "ahead of" if seen.clock_skew_seconds > 0 else "behind"
        yield Condition(
            alert=AlertName.CLOCK_OFF,
            subject="",
            since=now,
            cause=CAUSE_CLOCK,
            reason=f"this machine's clock is {timedelta(seconds=round(abs(seen.clock_skew_seconds)))} (h:mm:ss) {side} that of Kafka's brokers",
        )
