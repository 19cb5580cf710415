"""What the topics must look like, and how what is there differs from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

DAY_MS = 86_400_000
MINUTE_MS = 60_000
FOREVER = -1  # Kafka's word for no limit

TOPIC_KEYS = {"purpose", "cleanup", "retention_days", "segment_minutes", "record_bytes_max"}

# Held by every topic. Age is counted on the broker's clock: a producer's wrong clock would have records deleted at once,
# or never. A broker's default limit on size would delete by bytes what age still protects.
ALWAYS = {
    "message.timestamp.type": "LogAppendTime",
    "retention.bytes": "-1",
    "unclean.leader.election.enable": "false",
}


class BadTopics(ValueError):
    """The declaration of the topics is wrong; the text names the topic and the key."""


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic as it must be; `name` with prefix, `config` in Kafka's own keys and values."""

    name: str
    purpose: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as it is."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Missing:
    """The topic is not there."""

    wanted: WantedTopic


@dataclass(frozen=True, slots=True)
class WrongPartitions:
    """The topic has another number of partitions."""

    topic: str
    found: int
    wanted: int


@dataclass(frozen=True, slots=True)
class TooFewReplicas:
    """The topic has fewer copies than wanted."""

    topic: str
    found: int
    wanted: int


@dataclass(frozen=True, slots=True)
class WrongConfig:
    """One property differs; `safe` = changing it deletes nothing."""

    topic: str
    key: str
    found: str
    wanted: str
    safe: bool


Difference = Missing | WrongPartitions | TooFewReplicas | WrongConfig


def read_topics(
    document: Mapping[str, Any],
    prefix: str,
    partitions: int,
    replication_factor: int,
    min_insync_replicas: int,
) -> list[WantedTopic]:
    """The topics of a parsed topics.toml. Raises BadTopics."""
    return [
        WantedTopic(
            name=prefix + name,
            purpose=str(_value(name, entry, "purpose", str)),
            partitions=partitions,
            replication_factor=replication_factor,
            config=_config(name, entry) | {"min.insync.replicas": str(min_insync_replicas)},
        )
        for name, entry in document.items()
    ]


def plan(wanted: Sequence[WantedTopic], found: Mapping[str, FoundTopic]) -> list[Difference]:
    """Everything in which the found topics (by name) differ from the wanted ones, in the order of the wanted."""
    differences: list[Difference] = []
    for topic in wanted:
        there = found.get(topic.name)
        if there is None:
            differences.append(Missing(topic))
        else:
            differences.extend(_compare(topic, there))
    return differences


def can_apply(difference: Difference) -> bool:
    """Whether `topics apply` may put it right: nothing is deleted and no order is broken."""
    match difference:
        case Missing():
            return True
        case WrongPartitions() | TooFewReplicas():
            return False
        case WrongConfig():
            return difference.safe
        case _:
            assert_never(difference)


def blocks_services(difference: Difference) -> bool:
    """Whether a service that uses the topic must not start: mail could be lost, reordered or get stuck."""
    match difference:
        case Missing() | WrongPartitions():
            return True
        case TooFewReplicas():
            return False
        case WrongConfig():
            return difference.key in _BLOCKING
        case _:
            assert_never(difference)


def explain(difference: Difference) -> str:
    """One line: what, where, what to do."""
    match difference:
        case Missing(wanted):
            return f"{wanted.name}: does not exist; create it with `postlane topics apply`"
        case WrongPartitions(topic, found, count):
            return (
                f"{topic}: has {found} partitions, wanted are {count}; the count never changes in place, because the "
                f"order per ticket hangs on it: set topics.partitions = {found}, or move to new topics under another "
                "kafka.topic_prefix"
            )
        case TooFewReplicas(topic, found, count):
            return (
                f"{topic}: has {found} replicas, wanted are {count}; add them with kafka-reassign-partitions.sh, or set "
                f"topics.replication_factor = {found}"
            )
        case WrongConfig(topic, key, found, value, safe):
            remedy = (
                "`postlane topics apply` changes it"
                if safe
                else "changing it may delete records: change it by hand with kafka-configs.sh when you are sure"
            )
            return f"{topic}: {key} is {found}, wanted is {value}; {remedy}"
        case _:
            assert_never(difference)


def _config(name: str, entry: Any) -> dict[str, str]:
    config = dict(ALWAYS)
    record_bytes = _value(name, entry, "record_bytes_max", int)
    match _value(name, entry, "cleanup", str):
        case "delete":
            config["cleanup.policy"] = "delete"
            config["retention.ms"] = str(int(_value(name, entry, "retention_days", int)) * DAY_MS)
        case "compact":
            config["cleanup.policy"] = "compact"
            config["segment.ms"] = str(int(_value(name, entry, "segment_minutes", int)) * MINUTE_MS)
        case other:
            raise BadTopics(f'topic {name}: cleanup is "{other}"; it is "delete" or "compact"')
    config["max.message.bytes"] = str(record_bytes)
    return config


def _value(name: str, entry: Any, key: str, kind: type[int] | type[str]) -> int | str:
    if not isinstance(entry, Mapping):
        raise BadTopics(f"topic {name}: must be a table")
    if unknown := sorted(set(entry) - TOPIC_KEYS):
        raise BadTopics(f"topic {name}: unknown key {unknown[0]}; known are {', '.join(sorted(TOPIC_KEYS))}")
    value = entry.get(key)
    if type(value) is not kind:
        raise BadTopics(f"topic {name}: {key} must be {'text' if kind is str else 'a whole number'}")
    assert isinstance(value, int | str)
    return value


def _compare(wanted: WantedTopic, found: FoundTopic) -> list[Difference]:
    differences: list[Difference] = []
    if found.partitions != wanted.partitions:
        differences.append(WrongPartitions(wanted.name, found.partitions, wanted.partitions))
    if found.replication_factor < wanted.replication_factor:
        differences.append(TooFewReplicas(wanted.name, found.replication_factor, wanted.replication_factor))
    for key, value in sorted(wanted.config.items()):
        there = found.config.get(key, "")
        if not _SUFFICES.get(key, _same)(there, value):
            # Longer ages, larger records and more replicas delete nothing; another cleanup may. More replicas in sync than there
            # are would let nobody write.
            too_many = key == "min.insync.replicas" and int(value) > found.replication_factor
            safe = key != "cleanup.policy" and not too_many
            differences.append(WrongConfig(wanted.name, key, there, value, safe))
    return differences


def _same(found: str, wanted: str) -> bool:
    return found == wanted


def _at_least(found: str, wanted: str) -> bool:
    """An operator may keep records longer, or ask for more replicas, than we need."""
    try:
        return int(found) == FOREVER or (int(wanted) != FOREVER and int(found) >= int(wanted))
    except ValueError:
        return False


_SUFFICES: Mapping[str, Callable[[str, str], bool]] = {
    "retention.ms": _at_least,
    "min.insync.replicas": _at_least,
}
_BLOCKING = frozenset(
    {"cleanup.policy", "retention.ms", "retention.bytes", "min.insync.replicas", "max.message.bytes"}
)
