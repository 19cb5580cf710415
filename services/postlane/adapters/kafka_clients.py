"""How librdkafka's clients are configured and how its errors read; nothing here talks to a broker."""

import logging
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from postlane.adapters.repeated_lines import RepeatedLines
from postlane.config.sections import KafkaSection

LIBRDKAFKA_LOGGER = logging.getLogger("postlane.librdkafka")
LIBRDKAFKA_LOGGER.addFilter(RepeatedLines(time.monotonic))
LIBRDKAFKA_LOGGER.addHandler(
    logging.NullHandler()
)  # else Python prints warnings of unconfigured loggers to stderr

TRANSACTION_TIMEOUT_MS = 30_000  # how long a dead owner's open transaction hides what comes after it
# A writer forgets the coordinators that it has not used for so long. librdkafka (2.16) waits for ever for one that was taken out of the
# cluster's metadata since, as a broker is while it restarts (issue 5511). The price is one metadata request in that time.
WRITER_METADATA_AGE_MS_MAX = 2_000
# What is asked about a partition goes to its leader. librdkafka keeps a leader that is down, or the news that there is none, for 15 minutes.
LEADER_AGE_MS_MAX = 2_000
DELIVERY_TIMEOUT_MS = 20_000  # below the transaction timeout, as librdkafka demands
PUBLISH_TIMEOUT_MS = 10_000
BATCH_BYTES = 900_000  # below every topic's max.message.bytes, so that only a lone record can be too large
RECORD_BYTES_MAX = 64 * 2**20  # the topic's own limit decides; librdkafka's default of 1 MB refuses copies
WRITER_QUEUE_KBYTES = 128 * 1024
FETCH_QUEUE_KBYTES = 16 * 1024  # read ahead per member; the windows of the services hold the rest
# The first back-off stays at librdkafka's default: a long one delays every take-over after a broker's restart.
RECONNECT_BACKOFF_MS_MAX = 3_000
HEARTBEAT_MS = 1_000  # a rebalance is noticed with a heartbeat; cooperative ones take two
SESSION_TIMEOUT_MS = (
    10_000  # a killed member's work goes on elsewhere after this; heartbeats come from a thread of their own
)
# The same for bounded reads: a process may take over dozens of partitions at once.
READ_QUEUE_KBYTES = 4 * 1024
# librdkafka's default lets a consumer whose queue was full stand still for a second.
FETCH_QUEUE_BACKOFF_MS = 10
READ_WAIT_MS = 20  # bounded reads ask again at the end instead of hanging on for new records
LINGER_MS = 2  # a transaction's records go out as one batch, and nobody waits for it
COMMIT_INTERVAL_MS = 1_000  # after a crash a ticketing system gets at most the events of this time again

_FENCED = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 (librdkafka's local codes begin with an underscore)
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.TRANSACTION_COORDINATOR_FENCED,
    }
)
_STALE_MEMBER = frozenset(
    {KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_INSTANCE_ID}
)
_REFUSED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_MSG_SIZE,
    }
)


def base_config(kafka: KafkaSection, client_id: str, **defaults: Any) -> dict[str, Any]:
    """What every client needs: addresses, security, and the `extra` properties, which win over our defaults."""
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
        "client.id": client_id,
        "reconnect.backoff.max.ms": RECONNECT_BACKOFF_MS_MAX,
        "log.connection.close": False,
        "logger": LIBRDKAFKA_LOGGER,
    }
    if kafka.security_protocol.startswith("sasl"):
        config["sasl.mechanism"] = kafka.sasl_mechanism
        config["sasl.username"] = kafka.username or ""
        config["sasl.password"] = "" if kafka.password is None else kafka.password.get_secret_value()
    if kafka.ssl_ca_file is not None:
        config["ssl.ca.location"] = str(kafka.ssl_ca_file)
    return (
        config
        | {name.replace("_", "."): value for name, value in defaults.items()}
        | kafka.extra_properties()
    )


def writer_config(kafka: KafkaSection, transactional_id: str) -> dict[str, Any]:
    """A transactional producer. What correctness rests on cannot be changed by `extra`."""
    return base_config(kafka, transactional_id, linger_ms=LINGER_MS, compression_type="lz4") | {
        "transactional.id": transactional_id,
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "message.timeout.ms": DELIVERY_TIMEOUT_MS,
        "metadata.max.age.ms": WRITER_METADATA_AGE_MS_MAX,
        "enable.idempotence": True,
        "acks": "all",
        "batch.size": BATCH_BYTES,
        "message.max.bytes": RECORD_BYTES_MAX,
        "queue.buffering.max.kbytes": WRITER_QUEUE_KBYTES,
    }


def producer_config(kafka: KafkaSection, client_id: str) -> dict[str, Any]:
    """An idempotent producer that partitions keys as the Java client does."""
    return base_config(kafka, client_id, linger_ms=LINGER_MS, compression_type="lz4") | {
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2",
        "batch.size": BATCH_BYTES,
        "message.max.bytes": RECORD_BYTES_MAX,
    }


def publisher_config(kafka: KafkaSection, client_id: str) -> dict[str, Any]:
    """A producer of what is said again before long. In order, but not idempotent: giving a record up leaves a gap that brokers refuse for a while."""
    return producer_config(kafka, client_id) | {
        "enable.idempotence": False,
        "max.in.flight.requests.per.connection": 1,
        "message.timeout.ms": PUBLISH_TIMEOUT_MS,
    }


def consumer_config(kafka: KafkaSection, group: str, start: str) -> dict[str, Any]:
    """A ticketing system's consumer: committed records; offsets that it stores itself are committed every second."""
    return _group_config(kafka, group) | {
        "auto.offset.reset": start,
        "isolation.level": "read_committed",
        "enable.auto.commit": True,
        "enable.auto.offset.store": False,
        "auto.commit.interval.ms": COMMIT_INTERVAL_MS,
    }


def member_config(kafka: KafkaSection, group: str) -> dict[str, Any]:
    """A consumer that only holds a group membership; it never fetches and never commits by itself. Static where it has an id (KIP-345)."""
    static = {} if kafka.instance_id is None else {"group.instance.id": kafka.instance_id}
    return (
        _group_config(kafka, group)
        | static
        | {
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "latest",
        }
    )


def _group_config(kafka: KafkaSection, group: str) -> dict[str, Any]:
    config = base_config(kafka, group) | {"group.id": group}
    config.setdefault("heartbeat.interval.ms", HEARTBEAT_MS)
    config.setdefault("session.timeout.ms", SESSION_TIMEOUT_MS)
    return config | {"partition.assignment.strategy": "cooperative-sticky"}


def fetcher_config(kafka: KafkaSection, group: str) -> dict[str, Any]:
    """A consumer of committed records at given offsets; it joins no group (`group` is for offset queries and ACLs)."""
    return base_config(kafka, group) | {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "queued.max.messages.kbytes": FETCH_QUEUE_KBYTES,
        "fetch.queue.backoff.ms": FETCH_QUEUE_BACKOFF_MS,
    }


def reader_config(kafka: KafkaSection) -> dict[str, Any]:
    """The same for reads up to an end, which is reported; what retention has deleted is passed over."""
    return fetcher_config(kafka, kafka.group("reader")) | {
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "queued.max.messages.kbytes": READ_QUEUE_KBYTES,
        "fetch.wait.max.ms": READ_WAIT_MS,
    }


def follower_config(kafka: KafkaSection) -> dict[str, Any]:
    """A consumer of what is yet to come; it hangs on at the end."""
    return fetcher_config(kafka, kafka.group("reader")) | {
        "auto.offset.reset": "earliest",
        "queued.max.messages.kbytes": READ_QUEUE_KBYTES,
    }


def asker_config(kafka: KafkaSection, isolation: str) -> dict[str, Any]:
    """A consumer that reads nothing and is only asked for the offsets that readers of this isolation see."""
    return fetcher_config(kafka, kafka.group("reader")) | {
        "isolation.level": isolation,
        "metadata.max.age.ms": LEADER_AGE_MS_MAX,
    }


def admin_config(kafka: KafkaSection) -> dict[str, Any]:
    """A client for questions that any broker answers; it keeps up with which brokers there are."""
    return base_config(kafka, "postlane") | {"topic.metadata.refresh.interval.ms": LEADER_AGE_MS_MAX}


def error_of(exception: KafkaException) -> KafkaError:
    """The error inside a KafkaException."""
    error: KafkaError = exception.args[0]
    return error


def is_fenced(error: KafkaError) -> bool:
    """Another holder of the transactional id is newer."""
    return error.code() in _FENCED


def is_stale_member(error: KafkaError) -> bool:
    """The group coordinator does not know the membership that the offsets were sent with."""
    return error.code() in _STALE_MEMBER


def is_refusal(error: KafkaError) -> bool:
    """The broker (or librdkafka in its place) will never take this record."""
    return error.code() in _REFUSED


def describe(error: KafkaError) -> str:
    """One line for people."""
    return f"{error.str()} ({error.name()})"
