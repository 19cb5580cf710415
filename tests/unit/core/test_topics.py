"""How found topics are compared with wanted ones."""

import re
import tomllib
from dataclasses import replace

import pytest

from postlane.adapters.schema_files import schema_directory
from postlane.core.topics import (
    DAY_MS,
    BadTopics,
    FoundTopic,
    Missing,
    TooFewReplicas,
    WantedTopic,
    WrongConfig,
    WrongPartitions,
    blocks_services,
    can_apply,
    explain,
    plan,
    read_topics,
)

DESIGNED = {
    "mail.outbound",
    "mail.outbound.retry",
    "mail.outbound.status",
    "mail.outbound.feedback",
    "mail.outbound.dlq",
    "mail.inbound",
    "mail.inbound.retry",
    "mail.inbound.dlq",
    "mail.inbound.cursor",
    "mail.relays",
    "mail.control",
}


def shipped(prefix: str = "") -> dict[str, WantedTopic]:
    document = tomllib.loads((schema_directory() / "topics.toml").read_text())
    return {topic.name: topic for topic in read_topics(document, prefix, 12, 3, 2)}


def as_wanted(topic: WantedTopic) -> FoundTopic:
    return FoundTopic(topic.name, topic.partitions, topic.replication_factor, dict(topic.config))


WANTED = shipped()["mail.outbound"]
COMPACTED = shipped()["mail.control"]


# The declaration


def test_every_designed_topic_is_declared() -> None:
    assert set(shipped()) == DESIGNED
    assert set(shipped("acme.")) == {f"acme.{name}" for name in DESIGNED}


def test_copies_fit_where_they_go() -> None:
    topics = shipped()
    for name in ("mail.outbound", "mail.inbound"):
        original = int(topics[name].config["max.message.bytes"])
        for copy in (f"{name}.retry", f"{name}.dlq"):
            assert int(topics[copy].config["max.message.bytes"]) >= original + 64 * 1024


def test_the_ledger_outlives_what_it_speaks_of() -> None:
    def days(name: str) -> float:
        return int(shipped()[name].config["retention.ms"]) / DAY_MS

    assert days("mail.outbound.status") > days("mail.outbound.retry") > days("mail.outbound")


def test_state_topics_are_compacted_in_small_segments() -> None:
    compacted = {name for name, topic in shipped().items() if topic.config["cleanup.policy"] == "compact"}
    assert compacted == {"mail.inbound.cursor", "mail.control"}
    assert all(shipped()[name].config["segment.ms"] == "600000" for name in compacted)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("1", "must be a table"),
        (
            '{purpose = "x", cleanup = "delete", retention_days = 1}',
            "record_bytes_max must be a whole number",
        ),
        (
            '{purpose = "x", cleanup = "delete", record_bytes_max = 1}',
            "retention_days must be a whole number",
        ),
        (
            '{purpose = "x", cleanup = "delete", retention_days = true, record_bytes_max = 1}',
            "retention_days must be",
        ),
        ('{purpose = "x", cleanup = "compact", record_bytes_max = 1}', "segment_minutes must be"),
        ('{purpose = "x", cleanup = "both", record_bytes_max = 1}', 'it is "delete" or "compact"'),
        ('{cleanup = "compact", segment_minutes = 1, record_bytes_max = 1}', "purpose must be text"),
        ('{purpose = "x", retention = 1}', "unknown key retention"),
    ],
)
def test_a_wrong_declaration_is_named(entry: str, complaint: str) -> None:
    with pytest.raises(BadTopics, match=f"topic mail.x: .*{re.escape(complaint)}"):
        read_topics(tomllib.loads(f'"mail.x" = {entry}'), "", 1, 1, 1)


# The comparison


def test_what_is_as_wanted_needs_nothing() -> None:
    topics = shipped()
    assert plan(list(topics.values()), {name: as_wanted(topic) for name, topic in topics.items()}) == []


def test_a_missing_topic_is_created() -> None:
    (difference,) = plan([WANTED], {})
    assert difference == Missing(WANTED)
    assert can_apply(difference)
    assert blocks_services(difference)
    assert explain(difference) == "mail.outbound: does not exist; create it with `postlane topics apply`"


@pytest.mark.parametrize("count", [1, 11, 13, 24])
def test_another_partition_count_is_never_applied(count: int) -> None:
    (difference,) = plan([WANTED], {WANTED.name: replace(as_wanted(WANTED), partitions=count)})
    assert difference == WrongPartitions("mail.outbound", count, 12)
    assert not can_apply(difference)
    assert blocks_services(difference)
    assert f"has {count} partitions, wanted are 12" in explain(difference)
    assert f"set topics.partitions = {count}" in explain(difference)


def test_too_few_replicas_are_told_but_stop_nobody() -> None:
    (difference,) = plan([WANTED], {WANTED.name: replace(as_wanted(WANTED), replication_factor=1)})
    assert difference == TooFewReplicas("mail.outbound", 1, 3)
    assert not can_apply(difference)
    assert not blocks_services(difference)
    assert "set topics.replication_factor = 1" in explain(difference)


def test_more_replicas_are_welcome() -> None:
    assert plan([WANTED], {WANTED.name: replace(as_wanted(WANTED), replication_factor=5)}) == []


CONFIGS = [
    # key, found, differs, safe, blocks
    ("retention.ms", str(13 * DAY_MS), True, True, True),
    ("retention.ms", str(15 * DAY_MS), False, True, True),
    ("retention.ms", "-1", False, True, True),
    ("retention.ms", "", True, True, True),
    ("retention.bytes", "1000000", True, True, True),
    ("min.insync.replicas", "1", True, True, True),
    ("min.insync.replicas", "3", False, True, True),
    ("max.message.bytes", "900000", True, True, True),
    ("max.message.bytes", "2000000", True, True, True),
    ("message.timestamp.type", "CreateTime", True, True, False),
    ("unclean.leader.election.enable", "true", True, True, False),
    ("cleanup.policy", "compact", True, False, True),
]


@pytest.mark.parametrize(("key", "found", "differs", "safe", "blocks"), CONFIGS)
def test_properties_are_compared(key: str, found: str, differs: bool, safe: bool, blocks: bool) -> None:
    there = as_wanted(WANTED)
    differences = plan([WANTED], {WANTED.name: replace(there, config={**there.config, key: found})})
    if not differs:
        assert differences == []
        return
    (difference,) = differences
    assert difference == WrongConfig("mail.outbound", key, found, WANTED.config[key], safe)
    assert can_apply(difference) is safe
    assert blocks_services(difference) is blocks
    assert explain(difference).startswith(f"mail.outbound: {key} is {found}, wanted is ")
    assert ("kafka-configs.sh" in explain(difference)) is not safe


def test_a_compacted_topic_that_deletes_is_left_to_a_person() -> None:
    there = as_wanted(COMPACTED)
    found = replace(there, config={**there.config, "cleanup.policy": "delete"})
    (difference,) = plan([COMPACTED], {COMPACTED.name: found})
    assert not can_apply(difference)
    assert blocks_services(difference)


def test_topics_of_others_are_not_looked_at() -> None:
    found = {WANTED.name: as_wanted(WANTED), "invoices": FoundTopic("invoices", 3, 1, {})}
    assert plan([WANTED], found) == []


def test_more_replicas_in_sync_than_there_are_is_never_set() -> None:
    """Nobody could write there any more."""
    there = as_wanted(WANTED)
    config = {**there.config, "min.insync.replicas": "1"}
    single = FoundTopic(there.name, there.partitions, 1, config)
    differences = plan([WANTED], {WANTED.name: single})
    assert {type(difference) for difference in differences} == {TooFewReplicas, WrongConfig}
    assert not any(can_apply(difference) for difference in differences)
