"""What waits for the relays of each route, and how soon it could be through under a relay's budgets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from postlane.core.events.trail import Put
from postlane.core.limits.governor import Governor
from postlane.core.limits.permission import Never
from postlane.core.relays.relay_state import RelayState, RelayView
from postlane.core.sending.lane_holds import CAUSE_TICKET_HELD


@dataclass(frozen=True, slots=True)
class Unread:
    """A request at or above the committed offset of its partition: not read yet, or with its sender, and not ended."""

    route: str
    recipients: int


@dataclass(frozen=True, slots=True)
class Parked:
    """A live mail of the journal; `lane` = its partition and ticket."""

    lane: tuple[int, str]
    put: Put


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Mails of a route that have not ended.

    `unread` and `parked` may go now; `later` waits for its own time (a retry, `not_before`), `for_person` for an operator's word about
    its ticket. `recipients` are those of `counted` mails of which they are known.
    """

    unread: int = 0
    parked: int = 0
    later: int = 0
    for_person: int = 0
    recipients: int = 0
    counted: int = 0

    @property
    def ready(self) -> int:
        """Mails that need nothing but their relay."""
        return self.unread + self.parked

    @property
    def mean_recipients(self) -> float:
        """Of a mail; 1 where nothing is known."""
        return self.recipients / self.counted if self.counted else 1.0

    def __add__(self, other: "Waiting") -> "Waiting":
        return Waiting(
            unread=self.unread + other.unread,
            parked=self.parked + other.parked,
            later=self.later + other.later,
            for_person=self.for_person + other.for_person,
            recipients=self.recipients + other.recipients,
            counted=self.counted + other.counted,
        )


def waiting_by_route(
    unread: Iterable[Unread], more_unread: int, parked: Sequence[Parked], routes: Sequence[str], now: datetime
) -> dict[str, Waiting]:
    """What waits, for every route. `more_unread` requests were not looked at: they are shared out as those that were.

    Mail in the journal whose route is not configured any more goes by the last one, as in the senders.
    """
    found = dict.fromkeys(routes, Waiting())
    for mail in unread:
        found[mail.route] += Waiting(unread=1, recipients=mail.recipients, counted=1)
    for route, mails in _shared_out(more_unread, found).items():
        found[route] += Waiting(unread=mails)
    stuck = {mail.lane for mail in parked if mail.put.held > 0 or mail.put.cause == CAUSE_TICKET_HELD}
    for entry in parked:
        named = entry.put.route or routes[-1]
        found[named if named in found else routes[-1]] += _parked(entry, now, stuck=entry.lane in stuck)
    return found


def _shared_out(mails: int, seen: Mapping[str, Waiting]) -> dict[str, int]:
    """In proportion to what was seen of each route; the last one takes what is left over."""
    total = sum(waiting.unread for waiting in seen.values())
    shares = {route: mails * waiting.unread // total if total else 0 for route, waiting in seen.items()}
    last = list(seen)[-1]
    shares[last] += mails - sum(shares.values())
    return shares


def _parked(mail: Parked, now: datetime, *, stuck: bool) -> Waiting:
    if stuck:
        return Waiting(for_person=1)
    remaining = mail.put.remaining or ()
    known = Waiting(recipients=len(remaining), counted=1 if remaining else 0)
    if mail.put.due_ms > now.timestamp() * 1000:
        return known + Waiting(later=1)
    return known + Waiting(parked=1)


def seconds_through(
    governor: Governor, view: RelayView, waiting: Waiting, now: datetime
) -> float | Never | None:
    """In how many seconds the last of what may go now could start at this relay, at best; None where no budget bounds it.

    `governor` is a fresh one whose budgets say what all senders have used.
    """
    stands = view.state in {RelayState.PAUSED, RelayState.HELD}
    if stands and view.until is None:
        what = "paused until somebody resumes it" if view.by else "held without a known end"
        return Never(f"relay {view.relay} is {what}")
    begin = max(now, view.until) if stands and view.until is not None else now
    rest_seconds = (begin - now).total_seconds()
    if not governor.limits:
        return rest_seconds or None
    seconds = governor.forecast(waiting.ready, waiting.mean_recipients, begin.timestamp())
    return seconds if isinstance(seconds, Never) else rest_seconds + seconds
