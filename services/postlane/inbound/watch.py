"""How Kafka stands for the inbound service: metrics, health and one log line per change, never per repetition."""

import structlog

from postlane.adapters.http_health import Health
from postlane.adapters.metrics import Metrics
from postlane.core.metrics import COMMIT_SECONDS, KAFKA_ERRORS, RECOVERY_SECONDS, TRANSACTIONS
from postlane.ports import Clock

KAFKA = "kafka"
QUIET_SECONDS = 15.0  # librdkafka complains more often than that as long as a broker is away

log = structlog.get_logger(__name__)


class KafkaWatch:
    """How Kafka stands, as all partitions of this process see it."""

    def __init__(self, metrics: Metrics, health: Health, clock: Clock) -> None:
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._trouble: str | None = None
        self._away_at = clock()

    def answers(self) -> None:
        """A call succeeded."""
        if self._trouble is not None:
            log.info("kafka_answers_again")
        self._trouble = None
        self._health.set(KAFKA, ok=True)

    def away(self, reason: str) -> None:
        """A call failed and will be repeated."""
        if self._trouble is None:
            log.warning("kafka_away", reason=reason)
        self._trouble = reason
        self._away_at = self._clock()
        self._health.set(KAFKA, ok=False, reason=reason)

    def recover(self) -> None:
        """Nothing has been said against Kafka for a while: quiet mailboxes write nothing that would prove it."""
        if self._trouble is not None and self._clock() - self._away_at > QUIET_SECONDS:
            self.answers()

    def committed(self, seconds: float) -> None:
        """A transaction is durable."""
        self._metrics.counter(TRANSACTIONS, end="committed").inc()
        self._metrics.histogram(COMMIT_SECONDS).observe(seconds)

    def aborted(self) -> None:
        """A transaction, or a take-over, must be repeated."""
        self._metrics.counter(TRANSACTIONS, end="aborted").inc()

    def stumbled(self, reason: str, *, fatal: bool) -> None:
        """The group's client reports an error."""
        self._metrics.counter(KAFKA_ERRORS, fatal=str(fatal).lower()).inc()
        self.away(reason)

    def fenced(self) -> None:
        """Another owner has taken a partition over."""
        self._metrics.counter(TRANSACTIONS, end="fenced").inc()

    def recovered(self, seconds: float) -> None:
        """A partition is ours and its cursors are read."""
        self._metrics.histogram(RECOVERY_SECONDS).observe(seconds)
