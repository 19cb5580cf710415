"""One frozen model per section of the configuration file.

Descriptions, defaults, limits and examples here are what `postlane config example` prints.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from postlane.config.name_servers import NameServer, read_name_server
from postlane.config.secrets import Secret, looks_secret
from postlane.config.section import Section
from postlane.core.reading.mail_event import INLINE_BYTES_MAX
from postlane.core.sending.retry import parse_schedule

Port = Annotated[int, Field(ge=1, le=65535)]


class Tls(StrEnum):
    """How a connection is encrypted."""

    NONE = "none"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class KafkaSection(Section):
    """How to reach Kafka and what things are called there."""

    bootstrap_servers: str = Field("localhost:9092", description="host:port, several separated by commas")
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="how to connect; anything but a test cluster wants sasl_ssl or ssl"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how to log in, with the sasl_* protocols"
    )
    username: str | None = Field(None, description="user of the sasl_* protocols", examples=["postlane"])
    password: Secret | None = Field(
        None, description="password of the sasl_* protocols", examples=[{"env": "KAFKA_PASSWORD"}]
    )
    ssl_ca_file: Path | None = Field(
        None,
        description="own certificate authority; the system's when absent",
        examples=["/etc/postlane/kafka-ca.pem"],
    )
    topic_prefix: str = Field(
        "", description='put before every topic name on shared clusters, such as "acme."'
    )
    group_prefix: str = Field(
        "postlane",
        description="start of every consumer group and transactional id; never shared by two installations on one cluster",
    )
    instance_id: str | None = Field(
        None,
        pattern=r"[A-Za-z0-9._-]{1,200}",
        description="stable name of this process among those of its service, such as a StatefulSet's pod name: a restart "
        "within 10 s then moves no partition; with `--processes` a slot number is added",
        examples=["postlane-outbound-0"],
    )
    schema_registry_url: str | None = Field(
        None,
        repr=False,  # it may hold a password
        description="Confluent wire format with this registry; Avro single-object encoding when absent",
        examples=["http://schema-registry:8081"],
    )
    extra: dict[str, str] = Field(
        default_factory=dict,
        description="further librdkafka properties, passed on as they are",
        examples=[{"client.rack": "eu-1a"}],
    )
    extra_secrets: dict[str, Secret] = Field(
        default_factory=dict,
        description="the same for properties that hold secrets",
        examples=[{"ssl.key.password": {"file": "/run/secrets/kafka-key"}}],
    )

    def topic(self, name: str) -> str:
        """The full name of a topic such as `mail.outbound` on this cluster."""
        return f"{self.topic_prefix}{name}"

    def group(self, service: str) -> str:
        """The consumer group of a service, and the start of its transactional ids (`<group>-<partition>`)."""
        return f"{self.group_prefix}-{service}"

    def extra_properties(self) -> dict[str, str]:
        """`extra` and `extra_secrets` together, for librdkafka."""
        return self.extra | {name: secret.get_secret_value() for name, secret in self.extra_secrets.items()}

    @field_validator("schema_registry_url")
    @classmethod
    def _registry_has_a_scheme(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("a registry's address begins with http:// or https://")
        return url

    @field_validator("extra")
    @classmethod
    def _extra_is_extra(cls, extra: dict[str, str]) -> dict[str, str]:
        if extra.get("group.protocol", "classic") != "classic":
            raise ValueError("members use the classic group.protocol (docs/decisions/0014-group-protocol.md)")
        for name in extra:
            if looks_secret(name):
                raise ValueError(f'"{name}" holds a secret; put it under extra_secrets, which is never shown')
        return extra

    @model_validator(mode="after")
    def _login_is_whole(self) -> "KafkaSection":
        if self.security_protocol.startswith("sasl") and (self.username is None or self.password is None):
            raise ValueError(
                f'security_protocol = "{self.security_protocol}" needs both username and password'
            )
        return self


class TopicsSection(Section):
    """What `postlane topics apply` creates; everything else stands in schemas/topics.toml."""

    partitions: int = Field(
        12, ge=1, le=1000, description="never changed in place: the order per ticket hangs on it"
    )
    replication_factor: int = Field(3, ge=1, description="copies of every record; 1 on a single test broker")
    min_insync_replicas: int = Field(
        2,
        ge=1,
        description="copies that must hold a record before it counts as written; 1 on a single test broker",
    )

    @model_validator(mode="after")
    def _replicas_suffice(self) -> "TopicsSection":
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError(
                f"min_insync_replicas = {self.min_insync_replicas} can never be met with "
                f"replication_factor = {self.replication_factor}"
            )
        return self


class OnDead(StrEnum):
    """What becomes of a ticket whose mail has died."""

    CONTINUE = "continue"
    HOLD = "hold"


class OutboundSection(Section):
    """The outbound service: windows, retries, commits."""

    plus_address: bool = Field(True, description="add the signed ticket id to the Reply-To address as +tag")
    window_mails: int = Field(2000, ge=1, description="mails read ahead per partition before it is paused")
    window_bytes: int = Field(64 * 2**20, ge=2**20, description="the same in bytes")
    lease_seconds: float = Field(
        60.0,
        ge=15,
        le=600,
        description="senders share a relay's limits by leases; what one that died had, others get after so long",
    )
    commit_interval_ms: int = Field(
        100, ge=10, le=5000, description="outcomes are made durable at least this often"
    )
    commit_outcomes: int = Field(
        500, ge=1, description="K: at most so many outcomes may be sent but not yet durable, per partition"
    )
    retry_schedule: str = Field(
        "30s, 2m*3, 15m*4, 1h*12, 4h*12",
        description="delays between attempts (s, m, h, d; *n repeats); the last one repeats until age_max_seconds",
    )
    retry_jitter: float = Field(
        0.2, ge=0, le=0.9, description="each delay is changed by up to this share, so that retries spread"
    )
    retry_by_cause: dict[str, str] = Field(
        default_factory=dict,
        description="other delays for some causes, as statuses name them",
        examples=[{"greylisted": "5m*6, 1h"}],
    )
    reply_rules_file: Path | None = Field(
        None,
        description="own rules for what relays' replies mean, read before the shipped ones; `postlane classify` tries them",
        examples=["/etc/postlane/reply-rules.toml"],
    )
    memory_delay_seconds: float = Field(
        20.0, ge=0, le=60, description="shorter delays wait in memory, longer ones in the journal"
    )
    age_max_seconds: float = Field(3 * 86400.0, gt=0, description="older mail is given up as EXPIRED")
    duplicate_window_seconds: float = Field(
        3600.0, ge=0, description="a second request with the same event id within it is not sent"
    )
    index_mails: int = Field(
        1_000_000,
        ge=1000,
        description="unfinished mails per partition at which nothing more is read; about 1 KB each",
    )
    on_dead: OnDead = Field(
        OnDead.CONTINUE,
        description="continue: dead mail goes to the dead letters, its ticket goes on; hold: it keeps its place and its "
        "ticket waits until `postlane ticket retry` or `skip`",
    )
    dead_limit_mails: int = Field(
        100, ge=0, le=100_000, description="of so many last mails dead_limit_share may die; 0 = no limit"
    )
    dead_limit_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="when more die, something is wrong: the relay is held and probed with single mails",
    )
    suppress_unknown_seconds: float = Field(
        30 * 86400.0,
        ge=0,
        description="a recipient of whom a relay says with a code such as 5.1.1 that he does not exist is not mailed again for so "
        "long (`postlane suppression`); 0 = never suppressed by itself",
    )
    drain_seconds: float = Field(
        8.0, gt=0, le=60, description="how long a stopping service waits for what is in flight"
    )
    check_domains: bool = Field(
        False,
        description="fail a recipient at once whose domain takes no mail, as DNS says; when DNS does not say, the mail goes on. "
        "Leave it off where the relay knows domains that DNS does not",
    )
    dns_servers: tuple[NameServer, ...] = Field(
        (),
        description="IP addresses of the name servers to ask, with or without a port; the system's when absent",
        examples=[["192.0.2.53", "[2001:db8::53]:5353"]],
    )
    dns_seconds: float = Field(3.0, gt=0, le=30, description="a mail waits no longer than this for DNS")

    def name_servers(self) -> tuple[tuple[str, int], ...]:
        """`dns_servers` as IP addresses and ports."""
        return tuple(read_name_server(server) for server in self.dns_servers)

    @field_validator("retry_schedule")
    @classmethod
    def _schedule_can_be_read(cls, text: str) -> str:
        parse_schedule(text)
        return text

    @field_validator("retry_by_cause")
    @classmethod
    def _schedules_can_be_read(cls, schedules: dict[str, str]) -> dict[str, str]:
        for text in schedules.values():
            parse_schedule(text)
        return schedules


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
    command_timeout_seconds: float = Field(
        30.0, gt=0, le=600, description="an IMAP command that takes longer ends the session"
    )
    chunk_mails: int = Field(
        400, ge=1, le=1000, description="mails that become durable in one transaction, at most"
    )
    chunk_bytes: int = Field(
        16 * 2**20, ge=2**16, description="raw mail fetched at once; it is held in memory"
    )
    oversize_bytes: int = Field(
        50 * 2**20, ge=2**16, description="larger mail becomes a header-only event, its raw bytes a blob"
    )
    inline_bytes: int = Field(
        16 * 2**10,
        ge=0,
        le=INLINE_BYTES_MAX,
        description=f"attachments up to this size travel in the event, {INLINE_BYTES_MAX} bytes of them at most; "
        "larger ones go to the blob store, with 0 all of them",
    )
    parse_seconds_max: float = Field(10.0, gt=0, description="a parser process that takes longer is killed")
    parse_workers: int = Field(
        0,
        ge=0,
        le=64,
        description="parser processes, started when there is that much to do; 0 = one for each processor, at least 2 and at most 8",
    )
    trusted_authserv_ids: tuple[str, ...] = Field(
        (),
        description="hosts whose Authentication-Results and spam headers are believed",
        examples=[["mx.example.com"]],
    )
    loop_sender_mails: int = Field(
        20,
        ge=0,
        description="more mails of one sender within loop_window_seconds may be a loop: the advice is then neither to answer by "
        "machine nor to reopen; 0 = no limit",
    )
    loop_ticket_mails: int = Field(40, ge=0, description="the same for the mails of one ticket")
    loop_window_seconds: float = Field(
        7200.0, gt=0, description="counted by the mail server's time of arrival"
    )
    own_addresses: tuple[str, ...] = Field(
        (), description="our own addresses; mail from them is a loop", examples=[["support@example.com"]]
    )
    drain_seconds: float = Field(
        8.0, gt=0, le=60, description="how long a stopping service waits for the mails that it is taking in"
    )


class HttpSection(Section):
    """Metrics and health of a service."""

    host: str = Field(
        "127.0.0.1", description="address to listen on; 0.0.0.0 in a container. The pages need no password"
    )
    port: int = Field(
        9464,
        ge=0,
        le=65535,
        description="0 takes any free port; two services on one host need two (POSTLANE_HTTP__PORT)",
    )


class LogsSection(Section):
    """How the services log."""

    format: Literal["auto", "json", "pretty"] = Field("auto", description="pretty on a terminal, else json")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lines below this level are left out"
    )
