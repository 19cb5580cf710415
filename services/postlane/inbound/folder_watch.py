"""One folder's books and how its polling goes: metrics, health, log lines (per change, never per repetition), and what alarms and reports are made of."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from postlane.adapters.http_health import Health
from postlane.adapters.metrics import Metrics
from postlane.core.alerts.mailbox_conditions import FolderSeen
from postlane.core.events.received import MailboxReport, MailReceived, ParseStatus
from postlane.core.metrics import (
    CHECKED_AT,
    ENDED,
    FETCHED_BYTES,
    LISTED,
    MAILBOX_CONNECTED,
    MAILBOX_ERRORS,
    MAILBOX_FAILING,
    MAILBOX_LAG,
    PARSE_SECONDS,
    PARSED,
    SETTLED,
    UID_VALIDITY_CHANGES,
)
from postlane.core.polling.mailbox import Ending, Identity, Progress
from postlane.core.polling.mailbox_opening import Renumbering
from postlane.core.polling.quarantine import Quarantined
from postlane.ports import Clock, MailSourceError

ERROR_TEXT_MAX = 300

log = structlog.get_logger(__name__)


class FolderWatch:
    """From take-over until `forget`. `checked_at` begins as what the former owner knew."""

    def __init__(
        self, identity: Identity, metrics: Metrics, health: Health, clock: Clock = time.time
    ) -> None:
        self.identity = identity
        self.log = log.bind(mailbox=identity.mailbox, folder=identity.folder)
        self._metrics = metrics
        self._health = health
        self._clock = clock
        self._labels = {"mailbox": identity.mailbox, "folder": identity.folder}
        self._component = f"mailbox:{identity.mailbox}/{identity.folder}"
        self._began_at = clock()
        self._connected = False
        self._checked_at: float | None = None
        self._lag: int | None = None
        self._scanning = False
        self._error_kind: str | None = None
        self._error = ""
        self._error_since = 0.0
        self._retry_at: float | None = None
        self._renumbered: tuple[int, str] = (0, "")
        self._quarantined: tuple[int, str] = (0, "")
        self.gone = False
        self._told: tuple[object, ...] | None = None  # the news of the newest report

    # What is told of it

    @property
    def stale(self) -> bool:
        """Whether the newest report says something that is so no longer, besides how much and when."""
        return self._told != self._news()

    def _news(self) -> tuple[object, ...]:
        waiting = None if self._lag is None or not self._connected else self._lag > 0
        return self._connected, self._checked_at is None, waiting, self._scanning, self._error_kind

    def report(self) -> MailboxReport:
        """For `mail.inbound.cursor`."""
        self._told = self._news()
        failing = self._error_kind is not None
        return MailboxReport(
            mailbox=self.identity.mailbox,
            folder=self.identity.folder,
            instance=self.identity.instance,
            told_at=_moment(self._clock()),
            connected=self._connected,
            checked_at=None if self._checked_at is None else _moment(self._checked_at),
            lag=self._lag if self._connected else None,  # mail may have come since
            scanning=self._scanning,
            error_kind=self._error_kind,
            error=self._error,
            error_since=_moment(self._error_since) if failing else None,
            retry_at=_moment(self._retry_at) if failing and self._retry_at is not None else None,
        )

    def seen(self) -> FolderSeen:
        """For alarms."""
        return FolderSeen(
            mailbox=self.identity.mailbox,
            folder=self.identity.folder,
            checked_at=max(self._checked_at or 0.0, self._began_at),
            lag=self._lag or 0,
            error_kind=self._error_kind,
            error=self._error,
            error_since=self._error_since,
            renumbered=self._renumbered[0],
            renumbering=self._renumbered[1],
            quarantined=self._quarantined[0],
            quarantine=self._quarantined[1],
        )

    # Sessions

    def taken_over(self, checked_at: datetime | None) -> None:
        """The folder is ours; a former owner had looked it through then."""
        self._checked_at = None if checked_at is None else checked_at.timestamp()
        self._metrics.gauge(CHECKED_AT, **self._labels).set(self._checked_at or 0)
        self._metrics.gauge(MAILBOX_CONNECTED, **self._labels).set(0)
        self._metrics.counter(
            UID_VALIDITY_CHANGES, **self._labels
        )  # a series that begins at 0 shows its first growth
        self._metrics.counter(LISTED, **self._labels)
        for ending in Ending:
            self._metrics.counter(ENDED, **self._labels, outcome=ending.name.lower())

    def connected(self) -> None:
        """A session is open and its folder selected."""
        self._connected = True
        self._metrics.gauge(MAILBOX_CONNECTED, **self._labels).set(1)

    def disconnected(self) -> None:
        """The session is over, for whatever reason."""
        self._connected = False
        self._metrics.gauge(MAILBOX_CONNECTED, **self._labels).set(0)

    def failed(self, reason: str, kind: str, retry_in_seconds: float) -> None:
        """A session failed; it is opened again after that time."""
        now = self._clock()
        self._metrics.counter(MAILBOX_ERRORS, **self._labels, kind=kind).inc()
        if kind != self._error_kind:
            self.log.warning(
                "mailbox_failing", kind=kind, reason=reason, retry_in_seconds=round(retry_in_seconds, 1)
            )
            self._error_since = now if self._error_kind is None else self._error_since
            if self._error_kind is not None:
                self._metrics.forget(MAILBOX_FAILING, **self._labels, kind=self._error_kind)
            self._metrics.gauge(MAILBOX_FAILING, **self._labels, kind=kind).set(1)
        self._error_kind, self._error = kind, reason[:ERROR_TEXT_MAX]
        self._retry_at = now + retry_in_seconds
        self._health.set(self._component, ok=False, reason=reason)

    def works(self) -> None:
        """A session went through everything without a failure."""
        if self._error_kind is not None:
            self.log.info("mailbox_works_again")
            self._metrics.forget(MAILBOX_FAILING, **self._labels, kind=self._error_kind)
            self._error_kind, self._error, self._retry_at = None, "", None
        self._health.set(self._component, ok=True)

    def checked(self) -> datetime:
        """The folder was looked through to its end; returns when."""
        self._checked_at, self._lag = self._clock(), 0
        self._metrics.gauge(CHECKED_AT, **self._labels).set(self._checked_at)
        self._metrics.gauge(MAILBOX_LAG, **self._labels).set(0)
        return _moment(self._checked_at)

    def behind(self, mails: int) -> None:
        """So many mails are listed and not yet ended."""
        self._lag = mails
        self._metrics.gauge(MAILBOX_LAG, **self._labels).set(mails)

    def forget(self) -> None:
        """The folder now belongs to another process."""
        self.gone = True
        self._health.forget(self._component)
        for gauge in (CHECKED_AT, MAILBOX_CONNECTED, MAILBOX_LAG, MAILBOX_FAILING):
            self._metrics.forget(gauge, **self._labels)

    # Openings

    def began(self, progress: Progress) -> None:
        """A folder never seen before has its cursor."""
        self.log.info("mailbox_begun", uid=progress.uid)

    def renumbered(self, progress: Progress, why: Renumbering, produced_before: int) -> None:
        """The UIDs that we know mean nothing any more: the one alarm of it."""
        self._metrics.counter(UID_VALIDITY_CHANGES, **self._labels).inc()
        until = progress.rescan.until_uid if progress.rescan else progress.uid
        words = (
            "the folder is older than our cursor: it was restored"
            if why is Renumbering.RESTORED
            else f"UIDVALIDITY is {progress.uid_validity}, was {progress.cursor.uid_validity}"
        )
        self._renumbered = (self._renumbered[0] + 1, f"{words}; scanned again up to UID {until}")
        self._scanning = True
        self.log.error(
            "mailbox_renumbered",
            why=why.value,
            uid_validity_before=progress.cursor.uid_validity,
            uid_validity=progress.uid_validity,
            scans_until_uid=until,
            produced_before=produced_before,
        )

    def scanned(self) -> None:
        """The scan is over."""
        if self._scanning:
            self.log.info("mailbox_scanned")
        self._scanning = False

    # Mails

    def fetched(self, raw_bytes: int) -> None:
        """Raw mail came over the wire."""
        self._metrics.counter(FETCHED_BYTES, mailbox=self.identity.mailbox).inc(raw_bytes)

    def parsed(self, status: ParseStatus, seconds: float) -> None:
        """One mail went through a parser process."""
        self._metrics.counter(PARSED, status=status.value).inc()
        self._metrics.histogram(PARSE_SECONDS).observe(seconds)

    def ended(self, endings: Mapping[int, Ending]) -> None:
        """So these mails ended, durably."""
        self._metrics.counter(LISTED, **self._labels).inc(len(endings))
        for ending in Ending:
            count = sum(1 for one in endings.values() if one is ending)
            self._metrics.counter(ENDED, **self._labels, outcome=ending.name.lower()).inc(count)
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
        self._quarantined = (self._quarantined[0] + 1, f"UID {entry.uid}: {entry.cause}: {entry.reason}")
        self.log.error(
            "mail_quarantined", uid=entry.uid, failures=entry.failures, cause=entry.cause, reason=entry.reason
        )

    def companion_refused(self, uid: int, reason: str) -> None:
        """A record that a mail brought along cannot be written; its event is written without it."""
        self.log.error("companion_refused", uid=uid, reason=reason)

    def settled(self, mails: int) -> None:
        """Mails were flagged, moved or deleted."""
        self._metrics.counter(SETTLED, **self._labels).inc(mails)

    def settling_failed(self, error: MailSourceError) -> None:
        """Events are durable, but the mailbox does not let us mark them; tried again, and mail keeps flowing."""
        self.log.warning("mailbox_settling_failed", reason=str(error))


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
