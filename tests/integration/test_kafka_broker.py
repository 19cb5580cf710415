"""The broker that tests run on keeps what this project builds upon: transactions, isolation, fencing."""

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from plugins.kafka_container import image_at_hand, run_kafka_container

TIMEOUT_SECONDS = 20.0


@pytest.fixture
def topic(kafka_bootstrap: str) -> Iterator[str]:
    name = f"broker-test-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(TIMEOUT_SECONDS)
    yield name
    admin.delete_topics([name])[name].result(TIMEOUT_SECONDS)


def open_producer(bootstrap: str, transactional_id: str) -> Producer:
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": transactional_id})
    producer.init_transactions(TIMEOUT_SECONDS)
    return producer


def read_to_end(bootstrap: str, topic: str, isolation: str) -> list[bytes]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": uuid.uuid4().hex,
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        consumer.assign([TopicPartition(topic, 0)])
        values: list[bytes] = []
        while (message := _next(consumer)) is not None:
            values.append(message.value() or b"")
        return values
    finally:
        consumer.close()


def _next(consumer: Consumer) -> Message | None:
    message = consumer.poll(TIMEOUT_SECONDS)
    assert message is not None, "the consumer met neither a record nor the end of the partition"
    return None if message.error() else message


def test_readers_of_committed_records_see_nothing_aborted(kafka_bootstrap: str, topic: str) -> None:
    producer = open_producer(kafka_bootstrap, f"{topic}-id")
    for value, end in ((b"first", producer.commit_transaction), (b"undone", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(TIMEOUT_SECONDS)
        end(TIMEOUT_SECONDS)
    producer.begin_transaction()
    producer.produce(topic, b"last")
    producer.commit_transaction(TIMEOUT_SECONDS)

    assert read_to_end(kafka_bootstrap, topic, "read_committed") == [b"first", b"last"]
    assert read_to_end(kafka_bootstrap, topic, "read_uncommitted") == [b"first", b"undone", b"last"]


def test_a_second_producer_of_the_same_id_fences_the_first(kafka_bootstrap: str, topic: str) -> None:
    first = open_producer(kafka_bootstrap, f"{topic}-id")
    first.begin_transaction()
    first.produce(topic, b"of the first")
    first.flush(TIMEOUT_SECONDS)

    second = open_producer(kafka_bootstrap, f"{topic}-id")
    with pytest.raises(KafkaException) as fenced:
        first.commit_transaction(TIMEOUT_SECONDS)
    assert fenced.value.args[0].fatal()

    second.begin_transaction()
    second.produce(topic, b"of the second")
    second.commit_transaction(TIMEOUT_SECONDS)
    assert read_to_end(kafka_bootstrap, topic, "read_committed") == [b"of the second"]


def test_a_misspelt_topic_is_not_created(kafka_bootstrap: str) -> None:
    name = f"misspelt-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    assert admin.list_topics(name, TIMEOUT_SECONDS).topics[name].error is not None
    assert name not in admin.list_topics(timeout=TIMEOUT_SECONDS).topics


def test_the_official_image_serves_as_well() -> None:
    if not image_at_hand():
        pytest.skip("no container daemon with the Kafka image here")
    with run_kafka_container() as bootstrap:
        assert (
            len(AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=TIMEOUT_SECONDS).brokers)
            == 1
        )
