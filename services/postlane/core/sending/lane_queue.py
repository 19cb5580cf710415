"""Lanes and the queues in which they wait for their turn.

A lane is a ticket's unfinished mail, in the order of origin. It stands in at most one place: ready (its head may start by its route),
unloaded (its head is due but its bytes lie in the journal), timed (its head is due later), guarded (its parked head's
origin is not yet below the main position), or none (its head is busy, or an end waits for its commit).
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count

from postlane.core.events.status import Origin
from postlane.core.sending.lane_mail import LaneMail


@dataclass(slots=True, eq=False)
class Lane:
    """`busy` is the head while it is being loaded or in flight; `awaiting` counts ends that must be durable before the next start."""

    key: bytes
    mails: list[LaneMail] = field(
        default_factory=list
    )  # a deque costs 600 bytes, and most lanes hold one mail
    busy: LaneMail | None = None
    awaiting: int = 0
    journaled: int = 0
    queued: bool = False

    def insert(self, mail: LaneMail, rank: Callable[[Origin], tuple[int, int]]) -> None:
        """Put the mail in its place by origin; almost always the end."""
        place = len(self.mails)
        while place and rank(self.mails[place - 1].origin) > rank(mail.origin):
            place -= 1
        self.mails.insert(place, mail)


class LaneQueue:
    """Which lane's head may start next."""

    def __init__(self) -> None:
        self.ready: defaultdict[str, deque[Lane]] = defaultdict(deque)
        self.unloaded: defaultdict[str, deque[Lane]] = defaultdict(deque)
        self._timed: list[tuple[float, int, Lane]] = []
        self._guarded: list[tuple[int, int, Lane]] = []
        self._tie = count()

    def place(self, lane: Lane, now: float, guard_position: Callable[[LaneMail], int | None]) -> None:
        """Queue the lane where its head belongs; does nothing while it is queued as ready, busy, awaiting or empty.

        `guard_position` gives the offset that the main position must pass before the mail may start, or None.
        """
        if lane.queued or lane.busy is not None or lane.awaiting or not lane.mails:
            return
        head = lane.mails[0]
        guard = guard_position(head)
        if guard is not None:
            heapq.heappush(self._guarded, (guard, next(self._tie), lane))
        elif head.due > now:
            heapq.heappush(self._timed, (head.due, next(self._tie), lane))
        else:
            lane.queued = True
            (self.unloaded if head.content is None else self.ready)[head.route].append(lane)

    def put_first(self, lane: Lane, route: str) -> None:
        """A lane whose head was about to start is the next one, if it is ready still."""
        if self.ready[route] and self.ready[route][-1] is lane:
            self.ready[route].rotate(1)

    def due(self, now: float) -> Iterator[Lane]:
        """Take out the lanes whose time has come (a lane may come out more than once; `place` decides again)."""
        while self._timed and self._timed[0][0] <= now:
            yield heapq.heappop(self._timed)[2]

    def passed(self, position: int) -> Iterator[Lane]:
        """Take out the lanes whose guard the main position has passed."""
        while self._guarded and self._guarded[0][0] < position:
            yield heapq.heappop(self._guarded)[2]

    def waiting(self, route: str) -> int:
        """How many lanes could start a mail by this route now."""
        return len(self.ready[route]) + len(self.unloaded[route])

    @property
    def ready_since(self) -> float | None:
        """Since when (seconds since 1970) the head could have started that has waited longest for a relay, held ones included."""
        lanes = chain.from_iterable((*self.ready.values(), *self.unloaded.values()))
        return min((lane.mails[0].due for lane in lanes if lane.mails), default=None)

    @property
    def guarded(self) -> bool:
        """Whether some lane waits for the main position to pass its head."""
        return bool(self._guarded)
