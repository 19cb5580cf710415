"""What the pollers see becomes alerts."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping

from postlane.adapters.alarm_bell import AlarmBell
from postlane.core.alerts.conditions import HourCount
from postlane.core.alerts.mailbox_conditions import (
    FolderHour,
    FolderSeen,
    GrantSeen,
    Place,
    mailbox_conditions,
)
from postlane.ports import Clock


class Alarms:
    """The alerts of one process about the folders that it polls."""

    def __init__(self, bell: AlarmBell, unchecked_seconds: float, *, clock: Clock = time.time) -> None:
        self._bell = bell
        self._unchecked_seconds = unchecked_seconds
        self._clock = clock
        self._renumbered: defaultdict[Place, HourCount] = defaultdict(HourCount)
        self._quarantined: defaultdict[Place, HourCount] = defaultdict(HourCount)

    def observe(self, folders: Iterable[FolderSeen], grants: Iterable[GrantSeen] = ()) -> None:
        """To be called every few seconds with all folders that are polled here; returns at once."""
        now, seen = self._clock(), list(folders)
        for gone in {*self._renumbered} - {one.place for one in seen}:  # its counts begin anew elsewhere
            del self._renumbered[gone], self._quarantined[gone]
        last_hour = FolderHour(
            renumbered=_within_hour(self._renumbered, {one.place: one.renumbered for one in seen}, now),
            quarantined=_within_hour(self._quarantined, {one.place: one.quarantined for one in seen}, now),
        )
        ours = {name for one in seen for name in (one.name, one.mailbox)}
        self._bell.ring(
            mailbox_conditions(seen, grants, last_hour, self._unchecked_seconds, now),
            now,
            lambda condition: condition.subject not in ours,
        )


def _within_hour(
    counts: defaultdict[Place, HourCount], totals: Mapping[Place, int], now: float
) -> dict[Place, int]:
    return {place: counts[place].within_hour(total, now) for place, total in totals.items()}
