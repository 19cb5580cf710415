"""What the inbound service tells about itself: metrics, health and one log line per change, never per repetition."""

import time
from collections.abc import Mapping

import structlog

from postlane.adapters.http_health import Health
from postlane.adapters.metrics import Metrics
from postlane.core.events.received import MailReceived, ParseStatus
from postlane.core.metrics import (
    CHECKED_AT,
    COMMIT_SECONDS,
    ENDED,
    FETCHED_BYTES,
    KAFKA_ERRORS,
    LISTED,
    MAILBOX_CONNECTED,
    MAILBOX_ERRORS,
    MAILBOX_LAG,
    PARSE_SECONDS,
    PARSED,
    RECOVERY_SECONDS,
    SETTLED,
    TRANSACTIONS,
    UID_VALIDITY_CHANGES,
)
from postlane.core.polling.mailbox import Ending, Progress
from postlane.core.polling.quarantine import Quarantined
from postlane.ports import Clock, MailSourceError

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


class MailboxWatch:
    """One mailbox's books and its state."""

    def __init__(self, mailbox: str, metrics: Metrics, health: Health) -> None:
        self.mailbox = mailbox
        self.log = log.bind(mailbox=mailbox)
        self._metrics = metrics
        self._health = health
        self._component = f"mailbox:{mailbox}"
        self._trouble: str | None = None

    def connected(self) -> None:
        """A session is open and its folder selected."""
        self._metrics.gauge(MAILBOX_CONNECTED, mailbox=self.mailbox).set(1)

    def disconnected(self) -> None:
        """The session is over, for whatever reason."""
        self._metrics.gauge(MAILBOX_CONNECTED, mailbox=self.mailbox).set(0)

    def failed(self, reason: str, kind: str, retry_in_seconds: float) -> None:
        """A session failed; it is opened again after that time."""
        self._metrics.counter(MAILBOX_ERRORS, mailbox=self.mailbox, kind=kind).inc()
        if kind != self._trouble:
            self.log.warning(
                "mailbox_failing", kind=kind, reason=reason, retry_in_seconds=round(retry_in_seconds, 1)
            )
        self._trouble = kind
        self._health.set(self._component, ok=False, reason=reason)

    def checked(self) -> None:
        """The folder was looked through to its end."""
        if self._trouble is not None:
            self.log.info("mailbox_works_again")
        self._trouble = None
        self._metrics.gauge(CHECKED_AT, mailbox=self.mailbox).set(time.time())
        self._metrics.gauge(MAILBOX_LAG, mailbox=self.mailbox).set(0)
        self._health.set(self._component, ok=True)

    def behind(self, mails: int) -> None:
        """So many mails are listed and not yet ended."""
        self._metrics.gauge(MAILBOX_LAG, mailbox=self.mailbox).set(mails)

    def began(self, progress: Progress) -> None:
        """A folder never seen before has its cursor."""
        self.log.info("mailbox_begun", folder=progress.cursor.folder, uid=progress.uid)

    def renumbered(self, progress: Progress, produced_before: int) -> None:
        """UIDVALIDITY has changed: the one alarm of it."""
        self._metrics.counter(UID_VALIDITY_CHANGES, mailbox=self.mailbox).inc()
        self.log.error(
            "mailbox_renumbered",
            folder=progress.cursor.folder,
            uid_validity_before=progress.cursor.uid_validity,
            uid_validity=progress.uid_validity,
            scans_until_uid=progress.rescan.until_uid if progress.rescan else None,
            produced_before=produced_before,
        )

    def fetched(self, raw_bytes: int) -> None:
        """Raw mail came over the wire."""
        self._metrics.counter(FETCHED_BYTES, mailbox=self.mailbox).inc(raw_bytes)

    def parsed(self, status: ParseStatus, seconds: float) -> None:
        """One mail went through a parser process."""
        self._metrics.counter(PARSED, status=status.value).inc()
        self._metrics.histogram(PARSE_SECONDS).observe(seconds)

    def ended(self, endings: Mapping[int, Ending]) -> None:
        """So these mails ended, durably."""
        self._metrics.counter(LISTED, mailbox=self.mailbox).inc(len(endings))
        for ending in Ending:
            count = sum(1 for one in endings.values() if one is ending)
            self._metrics.counter(ENDED, mailbox=self.mailbox, outcome=ending.name.lower()).inc(count)
        self.log.debug("mailbox_polled", mails=len(endings))

    def received(self, event: MailReceived) -> None:
        """One mail is on `mail.inbound`."""
        self.log.info(
            "mail_received",
            event_id=event.event_id,
            ticket_id=event.ticket_id,
            uid=event.uid,
            size_bytes=event.raw.size_bytes,
            parse_status=event.parse_status.value,
            labels=[one.label.value for one in event.classifications],
        )

    def quarantined(self, entry: Quarantined) -> None:
        """One mail was given up; it is on `mail.inbound.dlq` and still in its folder."""
        self.log.error(
            "mail_quarantined", uid=entry.uid, failures=entry.failures, cause=entry.cause, reason=entry.reason
        )

    def companion_refused(self, uid: int, reason: str) -> None:
        """A record that a mail brought along cannot be written; its event is written without it."""
        self.log.error("companion_refused", uid=uid, reason=reason)

    def settled(self, mails: int) -> None:
        """Mails were flagged, moved or deleted."""
        self._metrics.counter(SETTLED, mailbox=self.mailbox).inc(mails)

    def settling_failed(self, error: MailSourceError) -> None:
        """Events are durable, but the mailbox does not let us mark them; tried again, and mail keeps flowing."""
        self.log.warning("mailbox_settling_failed", reason=str(error))

    def forget(self) -> None:
        """The mailbox now belongs to another process."""
        self._health.forget(self._component)
        self._metrics.forget_everywhere("mailbox", self.mailbox)
