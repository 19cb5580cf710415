"""Every metric that Postlane exposes, declared once: type, name, what it means, labels.

Names follow the Prometheus conventions: base units last (`_seconds`, `_bytes`), counters are exposed with `_total`. Label values
come from small closed sets (partition numbers, relay and mailbox names, cause tokens), never from mail.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counter:
    """A number that only grows; `_total` is added to its name when it is exposed."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that is set."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Histogram:
    """A distribution; `buckets` are upper bounds in the metric's unit."""

    name: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...]


Metric = Counter | Gauge | Histogram

# From a fast loopback answer to the longest SMTP time-out that a relay section allows.
_DIALOG_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
# A commit takes milliseconds; up to the transaction time-out of 15-30 s it is still waited for.
_COMMIT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 30.0)
_RECOVERY_SECONDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_PARSE_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)

# Both services
INFO = Gauge(
    "postlane_info", "Always 1; says which service and version runs here", ("service", "version", "instance")
)
COMPONENT_OK = Gauge("postlane_component_ok", "1 when this component is ready, else 0", ("component",))
PARTITIONS_OWNED = Gauge("postlane_partitions_owned", "Partitions that this process owns and works on")
TRANSACTIONS = Counter(
    "postlane_transactions", "Kafka transactions by end: committed, aborted, refused, fenced", ("end",)
)
COMMIT_SECONDS = Histogram(
    "postlane_commit_seconds", "Time from begin to known commit of a transaction", (), _COMMIT_SECONDS
)
RECOVERY_SECONDS = Histogram(
    "postlane_recovery_seconds",
    "Time to take over a partition, its state read back",
    (),
    _RECOVERY_SECONDS,
)
PARTITION_FAULTS = Counter(
    "postlane_partition_faults",
    "Partitions given up and taken over anew: fenced by another owner, or a fault of Postlane",
    ("kind",),
)
KAFKA_ERRORS = Counter("postlane_kafka_errors", "Errors that the Kafka client reported", ("fatal",))

# Outbound
MAILS = Counter(
    "postlane_outbound_mails",
    "Statuses made durable, by state (SENT, DEFERRED, ...) and cause",
    ("state", "cause"),
)
ATTEMPTS = Counter(
    "postlane_outbound_attempts", "SMTP attempts that ended, by relay and cause", ("relay", "cause")
)
DISTRUSTED = Counter(
    "postlane_outbound_distrusted",
    "Mails about which the relay said that it distrusts us: block lists, spam, missing authentication; by relay and cause",
    ("relay", "cause"),
)
ATTEMPT_SECONDS = Histogram(
    "postlane_outbound_attempt_seconds",
    "Time of one SMTP attempt, the wait for a session included",
    ("relay",),
    _DIALOG_SECONDS,
)
DELIVERY_SECONDS = Histogram(
    "postlane_outbound_delivery_seconds",
    "Time from the request (its requested_at) to the relay's taking it over",
    (),
    (0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0, 259200.0),
)
DUPLICATES = Counter(
    "postlane_outbound_duplicates", "Requests not sent because their event id was seen in the window"
)
DEAD_LETTERS = Counter(
    "postlane_outbound_dead_letters", "Mails written to the dead letters, for people to look at"
)
UNKNOWN_OUTCOMES = Counter(
    "postlane_outbound_unknown_outcomes",
    "Attempts whose connection was lost after the final dot; repeated with the same Message-ID",
    ("relay",),
)
IN_FLIGHT = Gauge("postlane_outbound_in_flight_mails", "Mails with an SMTP attempt running", ("partition",))
WAITING = Gauge(
    "postlane_outbound_waiting_mails",
    "Mails that wait, by place: memory (main offset waits for them) or parked (in the retry journal)",
    ("partition", "place"),
)
WINDOW_BYTES = Gauge(
    "postlane_outbound_window_bytes",
    "Bytes of requests read and not finished, held in memory",
    ("partition",),
)
LANES = Gauge("postlane_outbound_lanes", "Tickets with unfinished mail", ("partition",))
OLDEST_WAITING_SECONDS = Gauge(
    "postlane_outbound_oldest_waiting_seconds", "Age of the oldest unfinished mail", ("partition",)
)
RELAY_SECTIONS_DIFFER = Gauge(
    "postlane_outbound_relay_sections_differ",
    "1 while another sender has another configuration of this relay, else 0",
    ("relay",),
)
CLOCK_SKEW_SECONDS = Gauge(
    "postlane_outbound_clock_skew_seconds",
    "How far this machine's clock is ahead of the Kafka brokers' (negative: behind); the sender goes by theirs",
)
OLDEST_READY_SECONDS = Gauge(
    "postlane_outbound_oldest_ready_seconds",
    "How long the mail has been waiting for its relay that may go and has waited longest; retries and held tickets do not count",
    ("partition",),
)
UNCOMMITTED_OUTCOMES = Gauge(
    "postlane_outbound_uncommitted_outcomes", "Outcomes known but not yet durable in Kafka", ("partition",)
)
OLDEST_UNCOMMITTED_SECONDS = Gauge(
    "postlane_outbound_oldest_uncommitted_seconds",
    "Age of the oldest outcome not yet durable; over 5 s no mail starts",
    ("partition",),
)
PARTITION_PAUSED = Gauge(
    "postlane_outbound_partition_paused",
    "1 while reading is paused because the window is full",
    ("partition",),
)
RELAY_HELD = Gauge(
    "postlane_outbound_relay_held",
    "1 while the relay is held (limit, circuit open, auth broken); no series while it is free",
    ("relay", "cause"),
)
RELAY_GRANT_OK = Gauge(
    "postlane_outbound_relay_grant_ok",
    "1 while the relay's OAuth 2 grant is good, 0 once the token endpoint refuses it and a person must repair it",
    ("relay",),
)
RELAY_GRANT_ENDS_AT = Gauge(
    "postlane_outbound_relay_grant_end_timestamp_seconds",
    "When the relay's OAuth 2 grant ends, where the provider tells; what is left is this minus now",
    ("relay",),
)
ALERT_RAISED = Gauge(
    "postlane_alert_raised",
    "1 while this process has the alert raised; no series while it has not",
    ("alert", "subject"),
)
NOTIFICATIONS = Counter(
    "postlane_notifications",
    "Tellings of alerts by channel (webhook, mail) and end: sent, failed (given up), dropped (too many were waiting)",
    ("channel", "end"),
)

# Inbound
LISTED = Counter(
    "postlane_inbound_listed_mails",
    "Mails seen in the folder; equals the sum of the ended ones",
    ("mailbox", "folder"),
)
ENDED = Counter(
    "postlane_inbound_ended_mails",
    "Mails ended, by outcome: produced, quarantined or skipped",
    ("mailbox", "folder", "outcome"),
)
SETTLED = Counter(
    "postlane_inbound_settled_mails",
    "Mails flagged, moved or deleted after their event was durable",
    ("mailbox", "folder"),
)
FETCHED_BYTES = Counter("postlane_inbound_fetched_bytes", "Raw mail fetched", ("mailbox",))
PARSED = Counter("postlane_inbound_parsed_mails", "Mails parsed, by parse status", ("status",))
PARSE_SECONDS = Histogram("postlane_inbound_parse_seconds", "Time to parse one mail", (), _PARSE_SECONDS)
CHECKED_AT = Gauge(
    "postlane_inbound_checked_timestamp_seconds",
    "When the folder was last looked through to its end, 0 for never; the age of the newest check is now minus this",
    ("mailbox", "folder"),
)
MAILBOX_LAG = Gauge(
    "postlane_inbound_lag_mails", "Mails in the folder that have not ended", ("mailbox", "folder")
)
MAILBOX_CONNECTED = Gauge(
    "postlane_inbound_connected", "1 while an IMAP session is open", ("mailbox", "folder")
)
MAILBOX_ERRORS = Counter(
    "postlane_inbound_errors",
    "Failed sessions and commands, by kind such as auth, connection, fetch or blob-store",
    ("mailbox", "folder", "kind"),
)
MAILBOX_FAILING = Gauge(
    "postlane_inbound_failing",
    "1 while a folder cannot be polled, by kind such as auth or connection; no series while it can",
    ("mailbox", "folder", "kind"),
)
UID_VALIDITY_CHANGES = Counter(
    "postlane_inbound_uid_validity_changes",
    "Times that a folder was renumbered or restored and had to be scanned again",
    ("mailbox", "folder"),
)
MAILBOX_GRANT_OK = Gauge(
    "postlane_inbound_grant_ok",
    "1 while the mailbox's OAuth 2 grant is good, 0 once the token endpoint refuses it and a person must repair it",
    ("mailbox",),
)
MAILBOX_GRANT_ENDS_AT = Gauge(
    "postlane_inbound_grant_end_timestamp_seconds",
    "When the mailbox's OAuth 2 grant ends, where the provider tells; what is left is this minus now",
    ("mailbox",),
)

SCANS = Counter("postlane_inbound_scans", "Attachments by the virus scanner's verdict", ("verdict",))
SCAN_SECONDS = Histogram(
    "postlane_inbound_scan_seconds", "Time until the virus scanner's verdict", (), _PARSE_SECONDS
)
SCANNER_OK = Gauge(
    "postlane_inbound_scanner_ok",
    "0 while the virus scanner fails and attachments are marked ERROR; no series without a scanner",
)

_BOTH: tuple[Metric, ...] = (
    INFO,
    COMPONENT_OK,
    PARTITIONS_OWNED,
    TRANSACTIONS,
    COMMIT_SECONDS,
    RECOVERY_SECONDS,
    KAFKA_ERRORS,
)

OUTBOUND_METRICS: tuple[Metric, ...] = (
    *_BOTH,
    PARTITION_FAULTS,
    MAILS,
    ATTEMPTS,
    DISTRUSTED,
    ATTEMPT_SECONDS,
    DELIVERY_SECONDS,
    DUPLICATES,
    DEAD_LETTERS,
    UNKNOWN_OUTCOMES,
    IN_FLIGHT,
    WAITING,
    WINDOW_BYTES,
    LANES,
    OLDEST_WAITING_SECONDS,
    RELAY_SECTIONS_DIFFER,
    CLOCK_SKEW_SECONDS,
    OLDEST_READY_SECONDS,
    UNCOMMITTED_OUTCOMES,
    OLDEST_UNCOMMITTED_SECONDS,
    PARTITION_PAUSED,
    RELAY_HELD,
    RELAY_GRANT_OK,
    RELAY_GRANT_ENDS_AT,
    ALERT_RAISED,
    NOTIFICATIONS,
)

INBOUND_METRICS: tuple[Metric, ...] = (
    *_BOTH,
    LISTED,
    ENDED,
    SETTLED,
    FETCHED_BYTES,
    PARSED,
    PARSE_SECONDS,
    CHECKED_AT,
    MAILBOX_LAG,
    MAILBOX_CONNECTED,
    MAILBOX_ERRORS,
    MAILBOX_FAILING,
    UID_VALIDITY_CHANGES,
    MAILBOX_GRANT_OK,
    MAILBOX_GRANT_ENDS_AT,
    ALERT_RAISED,
    NOTIFICATIONS,
    SCANS,
    SCAN_SECONDS,
    SCANNER_OK,
)
