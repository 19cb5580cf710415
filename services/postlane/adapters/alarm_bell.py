"""What is wrong becomes alerts: a line in the log, a metric, and word to people."""

from collections.abc import Sequence

import structlog

from postlane.adapters.metrics import Metrics
from postlane.adapters.notifier import Notifier
from postlane.core.alerts.notice import Notice, NoticeEvent, notice
from postlane.core.alerts.raising import Alerts, Condition, Pace, step
from postlane.core.metrics import ALERT_RAISED

log = structlog.get_logger(__name__)


class AlarmBell:
    """The alerts of one process. Every process tells of what it sees itself; `fingerprint` is what makes two of them one."""

    def __init__(self, pace: Pace, notifier: Notifier, metrics: Metrics, instance: str) -> None:
        self._alerts = Alerts(pace)
        self._notifier = notifier
        self._metrics = metrics
        self._instance = instance

    def ring(self, observed: Sequence[Condition], now: float) -> None:
        """All conditions that hold at `now` (seconds since 1970); to be called every few seconds, returns at once."""
        for effect in step(self._alerts, observed, now):
            told = notice(effect, now, instance=self._instance)
            self._note(told)
            self._notifier.tell(told)

    def _note(self, told: Notice) -> None:
        said = log.bind(alert=told.alert, subject=told.subject, cause=told.cause, reason=told.reason)
        if told.event is NoticeEvent.CLEARED:
            self._metrics.forget(ALERT_RAISED, alert=told.alert, subject=told.subject)
            said.info("alert_cleared", summary=told.summary)
            return
        self._metrics.gauge(ALERT_RAISED, alert=told.alert, subject=told.subject).set(1)
        event = "alert_raised" if told.event is NoticeEvent.RAISED else "alert_stands"
        said.warning(event, severity=told.severity, summary=told.summary, action=told.action)
