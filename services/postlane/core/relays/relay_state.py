"""What a relay does now, as far as pauses and the senders' own statuses tell.

Asked in this order, and the first that holds is its state:

state        because
PAUSED       a person has paused it (mail.control)
HELD         the relay's allocator holds all senders (mail.relays); or senders said that it is held, or another one with which it shares every route of that one, and until when; that time has not
             come, and it has answered nothing since
PASSED_OVER  a relay that sends only while this one is held has answered later
DUE          it was held, and the time is over or a person has it tried again: the next mail tries it. With mail that goes on waiting, a probe was refused, or no sender runs
SENDS        it has answered since
UNKNOWN      no status that was looked at names it

Senders speak of a hold once for each mail that meets it, only where no relay of the mail's route takes it, and name the relay that will
be tried first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from postlane.core.control.standing import Pause, Resumption
from postlane.core.events.relay_lease import RelayHold
from postlane.core.events.status import MailState, MailStatus
from postlane.core.history import tells_of_hold
from postlane.core.instants import moment
from postlane.core.limits.governor import CAUSE_PAUSED
from postlane.core.routing.routes import Route

IN_FLIGHT = timedelta(seconds=30)  # so long an answer may be to a mail that started before the hold began


class RelayState(StrEnum):
    """See the module's table."""

    PAUSED = "paused"
    HELD = "held"
    PASSED_OVER = "passed_over"
    DUE = "due"
    SENDS = "sends"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldWord:
    """A hold as senders told of it: since when, when they last spoke of it, and when they expect its end.

    `told_by`: they named this other relay, and so said that no relay of its route takes mail; why this one does not, nobody said.
    """

    cause: str | None
    reason: str
    since: datetime
    told_at: datetime
    until: datetime | None
    told_by: str | None = None

    def stands(self, at: datetime) -> bool:
        """Whether its time has not come."""
        return self.until is None or at < self.until

    def is_over(self, answered_at: datetime | None) -> bool:
        """Whether an answer of the relay shows that the hold has ended: one that cannot be to a mail already in flight."""
        if answered_at is None:
            return False
        proof_from = self.told_at + IN_FLIGHT
        return answered_at >= (proof_from if self.until is None else min(proof_from, self.until))


@dataclass(frozen=True, slots=True)
class Heard:
    """The newest words about one relay. `answered_at`: when it last took or judged a mail."""

    hold: HoldWord | None = None
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayView:
    """A relay's state. `until` None: nobody knows, or a person decides. `told_by`: the other relay whose words tell of it."""

    relay: str
    state: RelayState
    cause: str | None = None
    reason: str = ""
    by: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    told_at: datetime | None = None
    answered_at: datetime | None = None
    told_by: str | None = None


def hear(statuses: Iterable[MailStatus], routes: Sequence[Route]) -> dict[str, Heard]:
    """What statuses of any partitions, in any order, say about each relay."""
    heard: dict[str, Heard] = {}
    for status in sorted(statuses, key=lambda one: one.occurred_at):
        if status.relay is None:
            continue
        before = heard.get(status.relay, Heard())
        if tells_of_hold(status):
            if status.cause != CAUSE_PAUSED:  # mail.control knows better whether it still stands
                heard[status.relay] = Heard(_hold(before, status), before.answered_at)
            for other in held_with(status.relay, routes):
                theirs = heard.get(other, Heard())
                heard[other] = Heard(_implied_hold(theirs, status), theirs.answered_at)
        elif status.state is MailState.SENT or status.reply is not None:
            heard[status.relay] = Heard(before.hold, status.occurred_at)
    return heard


def cut_short(heard: Mapping[str, Heard], resumptions: Mapping[str, Resumption]) -> dict[str, Heard]:
    """The same, where people had relays tried again before the time that senders had told."""
    cut = dict(heard)
    for relay, resumption in resumptions.items():
        hold, at = cut.get(relay, Heard()).hold, moment(resumption.at)
        if hold is not None and hold.told_at <= at and hold.stands(at):
            cut[relay] = replace(cut[relay], hold=replace(hold, until=at))
    return cut


def _hold(before: Heard, status: MailStatus) -> HoldWord:
    """The hold that stood before goes on, unless the relay has answered in between."""
    last = before.hold
    goes_on = last is not None and not last.is_over(before.answered_at)
    return HoldWord(
        cause=status.cause,
        reason=status.reason,
        since=last.since if last is not None and goes_on else status.occurred_at,
        told_at=status.occurred_at,
        until=status.next_attempt_at,
    )


def _implied_hold(before: Heard, status: MailStatus) -> HoldWord | None:
    """That no relay of its route took the mail, either: news only where no hold of its own stands."""
    last, at = before.hold, status.occurred_at
    own_stands = last is not None and last.told_by is None and last.stands(at)
    if status.next_attempt_at is None or (
        own_stands and last is not None and not last.is_over(before.answered_at)
    ):
        return last
    return replace(_hold(before, status), cause=None, reason="", told_by=status.relay)


def view_relay(
    relay: str, pause: Pause | None, heard: Mapping[str, Heard], routes: Sequence[Route], now: datetime
) -> RelayView:
    """The state of one relay; `pause` is the one that stands now."""
    own = heard.get(relay, Heard())
    if pause is not None:
        return RelayView(
            relay=relay,
            state=RelayState.PAUSED,
            cause=CAUSE_PAUSED,
            reason=pause.reason,
            by=pause.by,
            since=moment(pause.since),
            until=None if pause.until is None else moment(pause.until),
            answered_at=own.answered_at,
        )
    hold = None if own.hold is None or own.hold.is_over(own.answered_at) else own.hold
    if hold is not None and hold.stands(now):
        return _held(relay, RelayState.HELD, hold, own.answered_at)
    other = _stand_in(relay, own, hold, heard, routes)
    if other is not None:
        return RelayView(
            relay=relay,
            state=RelayState.PASSED_OVER,
            told_at=heard[other].answered_at,
            answered_at=own.answered_at,
            told_by=other,
        )
    if hold is not None:
        return _held(relay, RelayState.DUE, hold, own.answered_at)
    state = RelayState.UNKNOWN if own.answered_at is None else RelayState.SENDS
    return RelayView(relay=relay, state=state, told_at=own.answered_at, answered_at=own.answered_at)


def with_hold(view: RelayView, hold: RelayHold | None, now: datetime) -> RelayView:
    """What the hold of all senders adds, if there is one: it is the truth, where statuses only tell of it. A pause goes before."""
    if hold is None or view.state is RelayState.PAUSED:
        return view
    return RelayView(
        relay=view.relay,
        state=RelayState.HELD if now < hold.probe_at else RelayState.DUE,
        cause=hold.cause,
        reason=hold.reason,
        since=hold.since_at,
        until=hold.probe_at,
        told_at=view.told_at or hold.since_at,
        answered_at=view.answered_at,
    )


def _held(relay: str, state: RelayState, hold: HoldWord, answered_at: datetime | None) -> RelayView:
    return RelayView(
        relay=relay,
        state=state,
        cause=hold.cause,
        reason=hold.reason,
        since=hold.since,
        until=hold.until,
        told_at=hold.told_at,
        answered_at=answered_at,
        told_by=hold.told_by,
    )


def _stand_in(
    relay: str, own: Heard, hold: HoldWord | None, heard: Mapping[str, Heard], routes: Sequence[Route]
) -> str | None:
    """Who has answered later than this relay although it sends only while this one is held; of several the last one."""
    known = [] if own.answered_at is None else [own.answered_at + IN_FLIGHT]
    if hold is not None:
        known.append(hold.told_at if hold.until is None else hold.until)
    later: list[tuple[datetime, str]] = []
    for other, words in heard.items():
        at = words.answered_at
        if at is not None and stands_behind(other, relay, routes) and all(at >= after for after in known):
            later.append((at, other))
    return max(later, default=(None, None))[1]


def stands_behind(relay: str, other: str, routes: Sequence[Route]) -> bool:
    """Whether the other stands in an earlier tier wherever this relay is used: then this one sends only while the other is held."""
    used = [route for route in routes if relay in route.relays]
    return bool(used) and all(_tier(route, other) < _tier(route, relay) for route in used)


def held_with(relay: str, routes: Sequence[Route]) -> frozenset[str]:
    """The others that stand in every route of this relay: where no relay of its route takes mail, they do not."""
    used = [frozenset(route.relays) for route in routes if relay in route.relays]
    return frozenset.intersection(*used) - {relay} if used else frozenset()


def _tier(route: Route, relay: str) -> int:
    """Which of the route's tiers it is in; one that is not there comes after all of them."""
    names = ([name for name, _ in tier] for tier in route.tiers)
    return next((number for number, tier in enumerate(names) if relay in tier), len(route.tiers))
