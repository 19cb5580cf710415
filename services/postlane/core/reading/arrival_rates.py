"""How fast mail of one sender and of one ticket comes in: the last fence against loops that carry no sign at all.

Two machines that answer each other with new senders, new ids and no headers are known by nothing but their pace (freescout#688). Beyond a limit the advice
is not to answer and not to reopen; opening stays allowed, because a busy person must not be lost. Times are those of the mail server, so that a backlog
read in one go counts as it came.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from postlane.core.events.received import Classification, Label, MailReceived

COUNTED_MAX = (
    20_000  # senders and tickets remembered, about 2 KB each when busy; the one longest silent is forgotten
)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """So many mails within `window` are still ordinary; 0 = no limit."""

    per_sender: int = 20
    per_ticket: int = 40
    window: timedelta = timedelta(hours=2)


class ArrivalRates:
    """Counts in memory: what a process forgets with its end, the next one counts anew."""

    def __init__(self, limits: RateLimits, counted_max: int = COUNTED_MAX) -> None:
        self._limits = limits
        self._counted_max = counted_max
        self._arrivals: OrderedDict[str, deque[tuple[datetime, str]]] = OrderedDict()

    def weigh(self, event: MailReceived) -> MailReceived:
        """The event, with careful advice if its sender or its ticket is too fast; the same mail read again counts once."""
        reasons = [
            f"{count} mails {whose} within {_span(self._limits.window)}: perhaps a loop"
            for whose, key, limit in self._counted(event)
            if limit and (count := self._count(key, event, limit)) > limit
        ]
        if not reasons:
            return event
        found = (Classification(label=Label.OTHER, reason=reason) for reason in reasons)
        return replace(
            event,
            classifications=(*event.classifications, *found),
            verdicts=replace(event.verdicts, may_reopen=False, may_auto_answer=False),
        )

    def _counted(self, event: MailReceived) -> list[tuple[str, str, int]]:
        counted = []
        sender = next((one.address.lower() for one in event.from_addresses if one.address), None)
        if sender:
            counted.append((f"from {sender}", f"sender:{sender}", self._limits.per_sender))
        if event.ticket_id is not None:
            counted.append(("of this ticket", f"ticket:{event.ticket_id}", self._limits.per_ticket))
        return counted

    def _count(self, key: str, event: MailReceived, limit: int) -> int:
        arrivals = self._arrivals.setdefault(key, deque(maxlen=limit + 1))
        self._arrivals.move_to_end(key)
        if len(self._arrivals) > self._counted_max:
            self._arrivals.popitem(last=False)
        if all(event_id != event.event_id for _, event_id in arrivals):
            arrivals.append((event.received_at, event.event_id))
        return sum(abs(event.received_at - at) < self._limits.window for at, _ in arrivals)


def _span(window: timedelta) -> str:
    hours = window.total_seconds() / 3600
    return f"{hours:g} h" if hours >= 1 else f"{window.total_seconds() / 60:g} min"
