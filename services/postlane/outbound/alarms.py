"""What the sender sees becomes alerts: a line in the log, a metric, and word to people."""

import time
from collections import defaultdict
from collections.abc import Mapping

import structlog

from postlane.adapters.metrics import Metrics
from postlane.adapters.notifier import Notifier
from postlane.config.notify_section import NotifySection
from postlane.core.alerts.conditions import HourCount, LastHour, RelaySeen, Seen, conditions
from postlane.core.alerts.notice import Notice, NoticeEvent, notice
from postlane.core.alerts.raising import Alerts, step
from postlane.core.alerts.speaking import IsSpeaker, Speaking, everybody_speaks
from postlane.core.limits.governor import Governor
from postlane.core.metrics import ALERT_RAISED
from postlane.outbound.gauges import Gauges
from postlane.ports import Clock

log = structlog.get_logger(__name__)


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
        self._alerts = Alerts(section.pace())
        self._speaking = Speaking(is_speaker)
        self._dead_letters = HourCount()
        self._distrusted: defaultdict[str, HourCount] = defaultdict(HourCount)
        self._notifier = notifier
        self._metrics = metrics
        self._instance = instance
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
        effects = step(self._alerts, conditions(seen, last_hour, self._thresholds, now), now)
        for effect in effects:
            self._note(notice(effect, now, instance=self._instance))
        for effect in self._speaking.step(effects, self._alerts.raised):
            self._notifier.tell(notice(effect, now, instance=self._instance))

    def _note(self, told: Notice) -> None:
        said = log.bind(alert=told.alert, subject=told.subject, cause=told.cause, reason=told.reason)
        if told.event is NoticeEvent.CLEARED:
            self._metrics.forget(ALERT_RAISED, alert=told.alert, subject=told.subject)
            said.info("alert_cleared", summary=told.summary)
            return
        self._metrics.gauge(ALERT_RAISED, alert=told.alert, subject=told.subject).set(1)
        event = "alert_raised" if told.event is NoticeEvent.RAISED else "alert_stands"
        said.warning(event, severity=told.severity, summary=told.summary, action=told.action)


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
            )
        )
    return Seen(
        relays=tuple(relays),
        oldest_ready_seconds=gauges.oldest_ready_seconds,
        dead_letters=gauges.dead_letters,
    )
