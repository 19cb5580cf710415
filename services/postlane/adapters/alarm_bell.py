"""What is wrong becomes alerts: a line in the log, a metric, and word to people."""

from collections.abc import Sequence

import structlog

from postlane.adapters.metrics import Metrics
from postlane.adapters.notifier import Notifier
from postlane.core.alerts.notice import Notice, NoticeEvent, notice
from postlane.core.alerts.raising import Alerts, Condition, HasLeft, Pace, nothing_leaves, step
from postlane.core.alerts.speaking import IsSpeaker, Speaking, everybody_speaks
from postlane.core.metrics import ALERT_RAISED


class AlarmBell:
    """The alerts of one process; `is_speaker` says about which relays it tells people for all processes.

    Each process has its own line in the log and its own metric. What two of them tell people has the same `fingerprint`.
    """

    def __init__(
        self,
        pace: Pace,
        notifier: Notifier,
        metrics: Metrics,
        instance: str,
        *,
        is_speaker: IsSpeaker = everybody_speaks,
    ) -> None:
        self._log = structlog.get_logger(__name__)  # made with the service, after the logs were configured
        self._alerts = Alerts(pace)
        self._speaking = Speaking(is_speaker)
        self._notifier = notifier
        self._metrics = metrics
        self._instance = instance

    def ring(self, observed: Sequence[Condition], now: float, has_left: HasLeft = nothing_leaves) -> None:
        """All conditions that hold at `now` (seconds since 1970); to be called every few seconds, returns at once."""
        effects = step(self._alerts, observed, now, has_left)
        for effect in effects:
            self._note(notice(effect, now, instance=self._instance))
        for effect in self._speaking.step(effects, self._alerts.raised):
            self._notifier.tell(notice(effect, now, instance=self._instance))

    def _note(self, told: Notice) -> None:
        said = self._log.bind(alert=told.alert, subject=told.subject, cause=told.cause, reason=told.reason)
        if told.event is NoticeEvent.CLEARED:
            self._metrics.forget(ALERT_RAISED, alert=told.alert, subject=told.subject)
            said.info("alert_cleared", summary=told.summary)
            return
        self._metrics.gauge(ALERT_RAISED, alert=told.alert, subject=told.subject).set(1)
        event = "alert_raised" if told.event is NoticeEvent.RAISED else "alert_stands"
        said.warning(event, severity=told.severity, summary=told.summary, action=told.action)
