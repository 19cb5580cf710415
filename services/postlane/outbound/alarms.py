"""What the sender sees becomes alerts: a line in the log, a metric, and word to people."""

import time
from collections import defaultdict
from collections.abc import Mapping

from postlane.adapters.alarm_bell import AlarmBell
from postlane.adapters.metrics import Metrics
from postlane.adapters.notifier import Notifier
from postlane.config.notify_section import NotifySection
from postlane.core.alerts.conditions import HourCount, LastHour, RelaySeen, Seen, conditions
from postlane.core.alerts.speaking import IsSpeaker, everybody_speaks
from postlane.core.limits.governor import Governor
from postlane.outbound.gauges import Gauges
from postlane.ports import Clock


class Alarms:
    """The alerts of one process; `is_speaker` says about which relays it tells people for all processes."""

    def __init__(
        self,
        section: NotifySection,
        notifier: Notifier,
        metrics: Metrics,
        instance: str,
        *,
        is_speaker: IsSpeaker = everybody_speaks,
        clock: Clock = time.time,
    ) -> None:
        self._thresholds = section.thresholds()
        self._bell = AlarmBell(section.pace(), notifier, metrics, instance, is_speaker=is_speaker)
        self._dead_letters = HourCount()
        self._distrusted: defaultdict[str, HourCount] = defaultdict(HourCount)
        self._clock = clock

    def observe(self, seen: Seen) -> None:
        """To be called every few seconds with how everything stands; returns at once."""
        now = self._clock()
        last_hour = LastHour(
            dead_letters=self._dead_letters.within_hour(seen.dead_letters, now),
            distrusted={
                relay.relay: self._distrusted[relay.relay].within_hour(relay.distrusted, now)
                for relay in seen.relays
            },
        )
        self._bell.ring(conditions(seen, last_hour, self._thresholds, now), now)


def look(gauges: Gauges, governors: Mapping[str, Governor], now: float) -> Seen:
    """How everything stands; `governors` has every relay's."""
    relays = []
    for relay, governor in governors.items():
        standing = gauges.standings.get(relay)
        relays.append(
            RelaySeen(
                relay=relay,
                hold=governor.hold(now),
                beneath=governor.trouble(now),
                login_trouble=standing.words if standing is not None and standing.broken else None,
                grant_days_left=standing.days_left if standing is not None and standing.warns else None,
                distrusted=gauges.distrusted[relay],
                distrust=gauges.distrust_words.get(relay, ""),
                differing=gauges.differing.get(relay, ""),
            )
        )
    return Seen(
        relays=tuple(relays),
        oldest_ready_seconds=gauges.oldest_ready_seconds,
        dead_letters=gauges.dead_letters,
        clock_skew_seconds=gauges.clock_skew_seconds,
    )
