"""One frozen model per section of the configuration file; every default says why in its description."""

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from postlane.config.secrets import Secret

Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """Frozen, and unknown keys are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(StrEnum):
    """How a connection is encrypted."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class KafkaSection(Section):
    """How to reach Kafka and what things are called there."""

    bootstrap_servers: str = Field("localhost:9092", description="host:port, several separated by commas")
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: Secret | None = None
    ssl_ca_file: Path | None = Field(None, description="own certificate authority; the system's when absent")
    topic_prefix: str = Field(
        "", description='put before every topic name on shared clusters, such as "acme."'
    )
    group_prefix: str = Field("postlane", description="start of every consumer group and transactional id")
    schema_registry_url: str | None = Field(
        None, description="Confluent wire format with this registry; Avro single-object encoding when absent"
    )
    extra: dict[str, str] = Field(
        default_factory=dict, description="further librdkafka properties, passed on as they are"
    )


class TopicsSection(Section):
    """What `postlane topics apply` creates; everything else stands in schemas/topics.toml."""

    partitions: int = Field(
        12, ge=1, le=1000, description="never changed in place: the order per ticket hangs on it"
    )
    replication_factor: int = Field(3, ge=1)
    min_insync_replicas: int = Field(2, ge=1)


class BlobsSection(Section):
    """Where raw mail and large attachments are kept."""

    directory: Path = Field(
        Path("/var/lib/postlane/blobs"), description="shared by all services and the ticketing system"
    )


class SigningSection(Section):
    """Keys that sign ticket ids in Message-IDs and plus-addresses, so that replies are recognised and not forged."""

    domain: str = Field("localhost", description="right-hand side of our Message-IDs; a domain of yours")
    active_key: str = Field("k1", description="id of the key that new mail is signed with")
    keys: dict[str, Secret] = Field(
        default_factory=dict,
        description="key id -> secret of at least 16 characters; keep old ones until old threads are over",
    )

    @model_validator(mode="after")
    def _active_key_exists(self) -> "SigningSection":
        if self.keys and self.active_key not in self.keys:
            raise ValueError(f'active_key = "{self.active_key}" is not among the keys {sorted(self.keys)}')
        for key_id, secret in self.keys.items():
            if not key_id.isalnum() or len(key_id) > 8:
                raise ValueError(
                    f'key id "{key_id}" must be 1-8 letters or digits: it travels in every Message-ID'
                )
            if len(secret.get_secret_value()) < 16:
                raise ValueError(f"signing key {key_id} is shorter than 16 characters")
        return self


class OutboundSection(Section):
    """The outbound service: windows, retries, commits."""

    plus_address: bool = Field(True, description="add the signed ticket id to the Reply-To address as +tag")
    window_mails: int = Field(2000, ge=1, description="mails read ahead per partition before it is paused")
    window_bytes: int = Field(64 * 2**20, ge=2**20, description="the same in bytes")
    commit_interval_ms: int = Field(
        100, ge=10, le=5000, description="outcomes are made durable at least this often"
    )
    commit_outcomes: int = Field(
        500, ge=1, description="K: at most so many outcomes may be sent but not yet durable, per partition"
    )
    retry_schedule: str = Field(
        "30s, 2m*3, 15m*4, 1h*12, 4h*12", description="delays between attempts, then the last one repeats"
    )
    retry_jitter: float = Field(
        0.2, ge=0, le=0.9, description="each delay is changed by up to this share, so that retries spread"
    )
    memory_delay_seconds: float = Field(
        20.0, ge=0, le=60, description="shorter delays wait in memory, longer ones in the journal"
    )
    age_max_seconds: float = Field(3 * 86400.0, gt=0, description="older mail is given up as EXPIRED")
    duplicate_window_seconds: float = Field(
        3600.0, ge=0, description="a second request with the same event id within it is not sent"
    )
    drain_seconds: float = Field(
        8.0, gt=0, le=60, description="how long a stopping sender waits for mails in flight"
    )


class RelaySection(Section):
    """An SMTP account."""

    host: str
    port: Port = 587
    tls: Tls = Tls.STARTTLS
    ca_file: Path | None = Field(None, description="own certificate authority; the system's when absent")
    username: str | None = None
    password: Secret | None = None
    connections: int = Field(4, ge=1, le=200, description="sessions open at once, per sender process")
    mails_per_connection: int = Field(100, ge=1, description="a session is renewed after so many mails")
    timeout_seconds: float = Field(
        30.0, gt=0, le=600, description="for connect and for every command, the final dot included"
    )
    idle_seconds: float = Field(30.0, ge=0, description="an unused session is closed after this time")
    hold_seconds: float = Field(
        300.0, gt=0, description="first wait when the relay refuses everything and names no time itself"
    )
    hold_seconds_max: float = Field(3600.0, gt=0, description="repeated holds double up to this")
    ehlo_name: str | None = Field(None, description="name given in EHLO; the host's own when absent")


class AfterCommit(StrEnum):
    """What happens to a mail in its mailbox once its event is durable."""

    FLAG = "flag"
    MOVE = "move"
    DELETE = "delete"
    NOTHING = "nothing"


class MailboxSection(Section):
    """An IMAP account to be polled; its name in the file is its name in every event."""

    host: str
    port: Port = 993
    tls: Tls = Tls.IMPLICIT
    ca_file: Path | None = None
    username: str
    password: Secret
    folder: str = "INBOX"
    start: Literal["new", "all"] | date = Field(
        "new", description='a new mailbox starts with "new" mail, "all" mail, or a date'
    )
    after: AfterCommit = AfterCommit.FLAG
    flag: str = Field("\\Seen", description='set when after = "flag"')
    move_to: str = Field("Processed", description='target when after = "move"')


class InboundSection(Section):
    """The inbound service: polling and limits."""

    poll_seconds: float = Field(
        60.0, gt=0, description="IDLE is only a hint: a poll at least this often proves freshness"
    )
    idle_seconds: float = Field(
        540.0,
        gt=0,
        le=1740,
        description="IDLE is renewed after this; servers drop it after 29 min (RFC 2177)",
    )
    command_timeout_seconds: float = Field(30.0, gt=0)
    chunk_mails: int = Field(
        100,
        ge=1,
        le=100,
        description="UIDs per fetch; more than about 900 lines in one read break the client",
    )
    chunk_bytes: int = Field(16 * 2**20, ge=2**16)
    oversize_bytes: int = Field(
        50 * 2**20, ge=2**16, description="larger mail becomes a header-only event, its raw bytes a blob"
    )
    parse_seconds_max: float = Field(10.0, gt=0, description="a parser process that takes longer is killed")
    parse_workers: int = Field(1, ge=1, le=64)
    trusted_authserv_ids: tuple[str, ...] = Field(
        (), description="hosts whose Authentication-Results and spam headers are believed"
    )
    own_addresses: tuple[str, ...] = Field((), description="our own addresses; mail from them is a loop")


class HttpSection(Section):
    """Metrics and health of a service."""

    host: str = "127.0.0.1"
    port: int = Field(9464, ge=0, le=65535, description="0 takes any free port")


class LogsSection(Section):
    """How the services log."""

    format: Literal["auto", "json", "pretty"] = Field("auto", description="pretty on a terminal, else json")
    level: Literal["debug", "info", "warning", "error"] = "info"
