"""Topics on a real broker: created, corrected, compared; partition counts never touched."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from localstack.ports import free_ports
from postlane.adapters.topics import TopicAdmin, TopicsRefused, load_topics
from postlane.config.sections import KafkaSection, TopicsSection
from postlane.core.topics import BadTopics, Missing, WantedTopic, WrongConfig, WrongPartitions, explain
from postlane.ports import LogUnavailable

ONE_BROKER = TopicsSection(partitions=2, replication_factor=1, min_insync_replicas=1)


@pytest.fixture
def kafka(kafka_bootstrap: str) -> KafkaSection:
    """Every test has its own topics by its own prefix."""
    return KafkaSection(bootstrap_servers=kafka_bootstrap, topic_prefix=f"t{uuid4().hex[:8]}.")


@pytest.fixture
def admin(kafka: KafkaSection) -> TopicAdmin:
    return TopicAdmin(kafka)


@pytest.fixture
def wanted(kafka: KafkaSection) -> list[WantedTopic]:
    return load_topics(kafka, ONE_BROKER)


@pytest.fixture
def raw(kafka_bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka_bootstrap})


def create(raw: AdminClient, topic: NewTopic) -> None:
    for done in raw.create_topics([topic]).values():
        done.result(30)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_apply_creates_all_topics_and_again_does_nothing(
    admin: TopicAdmin, wanted: list[WantedTopic]
) -> None:
    assert admin.check(wanted) == [Missing(topic) for topic in wanted]
    first = admin.apply(wanted)
    assert len(first.changed) == len(wanted) == 11
    assert first.remaining == ()
    assert admin.check(wanted) == []
    second = admin.apply(wanted)
    assert second.changed == second.remaining == ()


def test_describe_shows_what_is_there(
    admin: TopicAdmin, wanted: list[WantedTopic], kafka: KafkaSection
) -> None:
    name = f"{kafka.topic_prefix}mail.outbound.retry"
    assert admin.describe([name]) == {}
    admin.apply(wanted)
    found = admin.describe([name, f"{kafka.topic_prefix}nothing"])
    assert list(found) == [name]
    assert (found[name].partitions, found[name].replication_factor) == (2, 1)
    assert found[name].config["max.message.bytes"] == "1114112"
    assert found[name].config["message.timestamp.type"] == "LogAppendTime"


def test_apply_corrects_what_deletes_nothing(
    admin: TopicAdmin, wanted: list[WantedTopic], kafka: KafkaSection, raw: AdminClient
) -> None:
    admin.apply(wanted)
    name = f"{kafka.topic_prefix}mail.outbound"
    short = ConfigEntry("retention.ms", "3600000", incremental_operation=AlterConfigOpType.SET)
    for done in raw.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[short])]
    ).values():
        done.result(30)
    expected = WrongConfig(name, "retention.ms", "3600000", str(14 * 86_400_000), safe=True)
    wait_until(lambda: admin.check(wanted) == [expected])  # the broker hears of it after the controller
    applied = admin.apply(wanted)
    assert applied.changed == (expected,)
    assert applied.remaining == ()
    assert admin.check(wanted) == []


def test_apply_leaves_partition_counts_and_cleanup_alone(
    admin: TopicAdmin, wanted: list[WantedTopic], kafka: KafkaSection, raw: AdminClient
) -> None:
    outbound, control = f"{kafka.topic_prefix}mail.outbound", f"{kafka.topic_prefix}mail.control"
    config = dict(next(topic for topic in wanted if topic.name == outbound).config)
    create(raw, NewTopic(outbound, num_partitions=5, replication_factor=1, config=config))
    create(
        raw, NewTopic(control, num_partitions=2, replication_factor=1, config={"cleanup.policy": "delete"})
    )
    wait_until(lambda: len(admin.describe([outbound, control])) == 2)
    applied = admin.apply(wanted)
    assert WrongPartitions(outbound, 5, 2) in applied.remaining
    assert WrongConfig(control, "cleanup.policy", "delete", "compact", safe=False) in applied.remaining
    assert len(applied.remaining) == 2
    found = admin.describe([outbound, control])
    assert found[outbound].partitions == 5
    assert found[control].config["cleanup.policy"] == "delete"
    assert found[control].config["segment.ms"] == "600000"
    assert "never changes in place" in explain(applied.remaining[0])


def test_two_may_apply_at_once(kafka: KafkaSection, wanted: list[WantedTopic]) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda admin: admin.apply(wanted), [TopicAdmin(kafka), TopicAdmin(kafka)]))
    assert all(applied.remaining == () for applied in both)


def test_too_many_replicas_are_refused_with_a_remedy(admin: TopicAdmin, kafka: KafkaSection) -> None:
    greedy = load_topics(kafka, TopicsSection(partitions=1, replication_factor=3, min_insync_replicas=2))
    with pytest.raises(
        TopicsRefused, match=r"mail\.outbound cannot be created: .*topics\.replication_factor"
    ):
        admin.apply(greedy)


def test_a_broker_that_is_away_is_said() -> None:
    kafka = KafkaSection(bootstrap_servers=f"127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(LogUnavailable):
        TopicAdmin(kafka, answer_seconds=1).check(load_topics(kafka, ONE_BROKER))


def test_an_unreadable_declaration_is_named(tmp_path: Path, kafka: KafkaSection) -> None:
    missing = tmp_path / "topics.toml"
    with pytest.raises(BadTopics, match=r"topics\.toml"):
        load_topics(kafka, ONE_BROKER, missing)
    missing.write_text("[[[")
    with pytest.raises(BadTopics, match=r"topics\.toml"):
        load_topics(kafka, ONE_BROKER, missing)


def test_a_topic_that_another_broker_does_not_know_yet_counts_as_missing(
    admin: TopicAdmin, wanted: list[WantedTopic]
) -> None:
    admin.apply(wanted)
    name = wanted[0].name
    configs = admin._configs([name, f"{name}.not-there"])  # brokers that disagree cannot be had at will
    assert [*configs] == [name]
