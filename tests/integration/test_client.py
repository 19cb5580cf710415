"""The public client on a real broker, as a ticketing system uses it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from localstack.ports import free_ports
from postlane.adapters.avro_codec import Codec
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.adapters.kafka_log import KafkaLog
from postlane.adapters.topics import TopicAdmin, load_topics
from postlane.client import (
    Address,
    BlobRef,
    Consumed,
    FeedbackConsumer,
    FeedbackKind,
    Header,
    LogUnavailable,
    MailConsumer,
    MailFeedback,
    MailProducer,
    MailReceived,
    MailRequested,
    MailState,
    MailStatus,
    NotDelivered,
    ParseStatus,
    Permanence,
    RequestedAttachment,
    RequestRefused,
    StatusConsumer,
    Undecodable,
    Unreadable,
    Verdicts,
    request,
)
from postlane.config.sections import KafkaSection, TopicsSection
from postlane.core.partitioner import partition_of
from postlane.ports import LogRecord, NewRecord, TopicPartition

PARTITIONS = 6
WAIT_SECONDS = (
    100.0  # a condition is waited for; only a test that fails waits so long, however busy the machine
)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def kafka(kafka_bootstrap: str) -> KafkaSection:
    """Postlane's topics under a prefix of this test's own."""
    section = KafkaSection(bootstrap_servers=kafka_bootstrap, topic_prefix=f"c{uuid4().hex[:8]}.")
    topics = TopicsSection(partitions=PARTITIONS, replication_factor=1, min_insync_replicas=1)
    assert TopicAdmin(section).apply(load_topics(section, topics)).remaining == ()
    return section


@pytest.fixture
def log(kafka: KafkaSection) -> Iterator[KafkaLog]:
    log = KafkaLog(kafka)
    yield log
    log.close()


def a_request(ticket_id: str = "T-1", subject: str = "Hello") -> MailRequested:
    return request(
        ticket_id=ticket_id,
        from_address="Support <support@example.com>",
        to=["ann@example.org"],
        subject=subject,
        text="Hi",
    )


def received(number: int) -> MailReceived:
    return MailReceived(
        event_id=f"r{number}",
        mailbox="support",
        folder="INBOX",
        uid_validity=1,
        uid=number,
        received_at=NOW,
        produced_at=NOW,
        raw=BlobRef(sha256="0" * 64, size_bytes=1),
        parse_status=ParseStatus.OK,
        defects=(),
        thread_key="thread:1",
        verdicts=Verdicts(may_open=True, may_reopen=True, may_auto_answer=True),
        subject=f"mail {number}",
    )


def records(log: KafkaLog, topic: str) -> list[LogRecord]:
    found = []
    for partition in range(PARTITIONS):
        at = TopicPartition(topic, partition)
        for batch in log.read(at, 0, log.bounds(at).end, WAIT_SECONDS):
            found.extend(batch)
    return found


def write(log: KafkaLog, topic: str, values: list[bytes], *, commit: bool = True) -> Callable[[], None]:
    """Write to partition 0 as the services do; returns how to end the writer."""
    writer = log.writer(f"writer-{uuid4().hex}")
    writer.take_over()
    writer.stage([NewRecord(to=TopicPartition(topic, 0), key=b"k", value=value) for value in values])
    if commit:
        writer.commit()
    return writer.close


def take(consumer: MailConsumer, count: int) -> list[Consumed[MailReceived]]:
    """The next events; fails if they do not come."""
    alarm = threading.Timer(WAIT_SECONDS, consumer.stop)
    alarm.start()
    taken = []
    for mail in consumer:
        taken.append(mail)
        if len(taken) == count:
            break
    alarm.cancel()
    assert len(taken) == count
    return taken


# Producing


def test_a_request_arrives_as_it_was_made(kafka: KafkaSection, log: KafkaLog) -> None:
    wanted = request(
        ticket_id="Zürich-7",
        from_address=Address(address="support@example.com", name="Süpport"),
        to=["Ann Lee <ann@example.org>", "bob@example.org"],
        subject="Grüße 🎫",
        html="<p>Hi</p>",
        attachments=[RequestedAttachment(filename="a.txt", content_type="text/plain", content=b"\x00a")],
        metadata={"agent": "7"},
        requested_at=NOW,
    )
    with MailProducer(kafka, source="/desk") as producer:
        receipt = producer.send(wanted)
    (record,) = records(log, f"{kafka.topic_prefix}mail.outbound")
    assert Codec().decode(MailRequested, record.value) == wanted
    assert wanted.to == (
        Address(address="ann@example.org", name="Ann Lee"),
        Address(address="bob@example.org"),
    )
    assert record.key == "Zürich-7".encode()
    assert record.headers == cloud_event_headers(wanted, "/desk")
    assert dict(record.headers)["ce_type"] == b"postlane.MailRequested"
    assert (receipt.event_id, receipt.partition, receipt.offset) == (
        wanted.event_id,
        record.at.partition,
        record.offset,
    )


KEYS = ["", "a", "TICKET-1", "Zürich-7", "票据-42", "билет№5", "🎫", "é", "e\u0301", "x" * 200]


def test_librdkafka_and_we_agree_on_the_partition(kafka: KafkaSection) -> None:
    """`partitioner=murmur2` of librdkafka, which its users in other languages set, against our own."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "partitioner": "murmur2"})
    chosen: dict[bytes, int | None] = {}
    for key in KEYS:
        producer.produce(
            f"{kafka.topic_prefix}mail.outbound",
            key=key.encode(),
            value=b"",
            on_delivery=lambda _error, message: chosen.update({message.key() or b"": message.partition()}),
        )
    assert producer.flush(WAIT_SECONDS) == 0
    assert chosen == {key.encode(): partition_of(key.encode(), PARTITIONS) for key in KEYS}


def test_requests_go_to_the_partition_of_their_ticket_in_order(kafka: KafkaSection, log: KafkaLog) -> None:
    tickets = ["Zürich-7", "票据-42", "T-1", "T-2"]
    batch = [a_request(ticket, f"{number}") for number in range(5) for ticket in tickets]
    with MailProducer(kafka) as producer:
        receipts = producer.send_all(batch)
    for wanted, receipt in zip(batch, receipts, strict=True):
        assert receipt.event_id == wanted.event_id
        assert receipt.partition == partition_of(wanted.ticket_id.encode(), PARTITIONS)
    stored = [
        Codec().decode(MailRequested, r.value) for r in records(log, f"{kafka.topic_prefix}mail.outbound")
    ]
    for ticket in tickets:
        assert [r.subject for r in stored if r.ticket_id == ticket] == ["0", "1", "2", "3", "4"]


def test_threads_may_share_a_producer(kafka: KafkaSection, log: KafkaLog) -> None:
    with MailProducer(kafka) as producer:
        threads = [
            threading.Thread(target=lambda n=n: [producer.send(a_request(f"T-{n}")) for _ in range(10)])
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_SECONDS)
    assert len(records(log, f"{kafka.topic_prefix}mail.outbound")) == 40


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (a_request(subject="Hi\r\nBcc: eve@example.net"), "subject"),
        (
            request(
                ticket_id="T",
                from_address="a@example.com\nBcc: eve@example.net",
                to=["b@example.com"],
                subject="",
            ),
            "from_address",
        ),
        (
            request(
                ticket_id="T", from_address="a@example.com", to=["Eve\r\n <eve@example.net>"], subject=""
            ),
            "to",
        ),
        (
            request(
                ticket_id="T",
                from_address="a@example.com",
                to=["b@example.com"],
                subject="",
                headers=[Header(name="X-A", value="1\r\nBcc: eve@example.net")],
            ),
            "headers",
        ),
        (request(ticket_id="", from_address="a@example.com", to=["b@example.com"], subject=""), "ticket_id"),
    ],
)
def test_bad_requests_are_refused_by_field_and_not_produced(
    kafka: KafkaSection, log: KafkaLog, wanted: MailRequested, field: str
) -> None:
    with MailProducer(kafka) as producer, pytest.raises(RequestRefused) as refusal:
        producer.send_all([a_request(), wanted])
    assert any(fault.startswith(field) for fault in refusal.value.faults), refusal.value.faults
    assert records(log, f"{kafka.topic_prefix}mail.outbound") == []


def test_a_request_that_is_too_large_is_refused_with_advice(kafka: KafkaSection) -> None:
    content = os.urandom(2 * 2**20)
    large = request(
        ticket_id="T",
        from_address="a@example.com",
        to=["b@example.com"],
        subject="",
        text="see below",
        attachments=[RequestedAttachment(filename="a", content_type="a/b", content=content)],
    )
    with MailProducer(kafka) as producer:
        with pytest.raises(RequestRefused, match="too large for Kafka; put attachments into the blob store"):
            producer.send(large)
        assert producer.send(a_request()).offset >= 0


def test_a_missing_topic_is_named(kafka_bootstrap: str) -> None:
    section = KafkaSection(bootstrap_servers=kafka_bootstrap, topic_prefix="nowhere.")
    with (
        MailProducer(section) as producer,
        pytest.raises(NotDelivered, match=r"nowhere\.mail\.outbound does not exist"),
    ):
        producer.send(a_request())


def test_a_broker_that_is_away_is_not_success() -> None:
    section = KafkaSection(bootstrap_servers=f"127.0.0.1:{free_ports(1)[0]}")
    wanted = a_request()
    with MailProducer(section, timeout_seconds=2) as producer, pytest.raises(NotDelivered) as failure:
        producer.send(wanted)
    assert failure.value.event_id == wanted.event_id


# Consuming


def test_received_mail_comes_in_order_and_only_what_is_committed(kafka: KafkaSection, log: KafkaLog) -> None:
    topic = f"{kafka.topic_prefix}mail.inbound"
    write(log, topic, [Codec().encode(received(0))])()
    write(log, topic, [Codec().encode(received(99))], commit=False)()
    write(log, topic, [Codec().encode(received(1)), Codec().encode(received(2))])()
    with MailConsumer(kafka, group=f"desk-{uuid4().hex}") as consumer:
        assert [mail.event for mail in take(consumer, 3)] == [received(0), received(1), received(2)]


def test_only_what_is_done_is_not_seen_again(kafka: KafkaSection, log: KafkaLog) -> None:
    topic, group = f"{kafka.topic_prefix}mail.inbound", f"desk-{uuid4().hex}"
    write(log, topic, [Codec().encode(received(number)) for number in range(4)])()
    with MailConsumer(kafka, group=group) as consumer:
        mails = take(consumer, 4)
        consumer.done(mails[0])
        consumer.done(mails[1])
    with MailConsumer(kafka, group=group) as consumer:
        again = take(consumer, 2)
        assert [mail.event.event_id for mail in again] == ["r2", "r3"]
        consumer.done(again[-1])
    write(log, topic, [Codec().encode(received(4))])()
    with MailConsumer(kafka, group=group) as consumer:
        assert take(consumer, 1)[0].event.event_id == "r4"


def test_a_record_that_is_no_mail_is_named_and_passed_by_the_next_call(
    kafka: KafkaSection, log: KafkaLog
) -> None:
    topic = f"{kafka.topic_prefix}mail.inbound"
    write(log, topic, [b"garbage", Codec().encode(received(1))])()
    with MailConsumer(kafka, group=f"desk-{uuid4().hex}") as consumer:
        with pytest.raises(Undecodable, match=r"mail\.inbound partition 0 offset 0: unknown framing"):
            take(consumer, 1)
        assert take(consumer, 1)[0].event.event_id == "r1"


def test_a_desk_goes_past_a_record_that_is_no_mail_and_sees_it(kafka: KafkaSection, log: KafkaLog) -> None:
    topic, group = f"{kafka.topic_prefix}mail.inbound", f"desk-{uuid4().hex}"
    write(log, topic, [b"garbage", Codec().encode(received(1)), b"more garbage"])()
    seen: list[Unreadable] = []

    def look(record: Unreadable) -> None:
        seen.append(record)
        if len(seen) == 2:
            consumer.done(record)
            consumer.stop()

    with MailConsumer(kafka, group=group, on_unreadable=look) as consumer:
        alarm = threading.Timer(WAIT_SECONDS, consumer.stop)
        alarm.start()
        assert [mail.event.event_id for mail in consumer] == ["r1"]
        alarm.cancel()
    assert [(bad.offset, bad.value, bad.fault.split(";")[0][:15]) for bad in seen] == [
        (0, b"garbage", "unknown framing"),
        (2, b"more garbage", "unknown framing"),
    ]
    write(log, topic, [Codec().encode(received(2))])()
    with MailConsumer(kafka, group=group) as consumer:
        assert take(consumer, 1)[0].event.event_id == "r2", "what is done does not come again"


def test_a_desk_may_stop_at_a_record_that_is_no_mail(kafka: KafkaSection, log: KafkaLog) -> None:
    write(log, f"{kafka.topic_prefix}mail.inbound", [b"garbage"])()

    def refuse(record: Unreadable) -> None:
        raise RuntimeError(f"offset {record.offset}")

    with (
        MailConsumer(kafka, group=f"desk-{uuid4().hex}", on_unreadable=refuse) as consumer,
        pytest.raises(RuntimeError, match="offset 0"),
    ):
        take(consumer, 1)


def test_stop_ends_the_iteration(kafka: KafkaSection) -> None:
    with MailConsumer(kafka, group=f"desk-{uuid4().hex}") as consumer:
        threading.Timer(0.2, consumer.stop).start()
        assert list(consumer) == []


def test_closing_in_a_signal_handler_is_safe(kafka: KafkaSection, log: KafkaLog) -> None:
    write(log, f"{kafka.topic_prefix}mail.inbound", [Codec().encode(received(1))])()
    with MailConsumer(kafka, group=f"desk-{uuid4().hex}") as consumer:
        (mail,) = take(consumer, 1)
        before = signal.signal(signal.SIGUSR1, lambda *_: consumer.close())
        try:
            threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
            assert list(consumer) == []
        finally:
            signal.signal(signal.SIGUSR1, before)
        consumer.done(mail)


def test_closing_from_another_thread_is_safe(kafka: KafkaSection) -> None:
    consumer = MailConsumer(kafka, group=f"desk-{uuid4().hex}")
    closer = threading.Timer(0.2, consumer.close)
    closer.start()
    assert list(consumer) == []
    closer.join(WAIT_SECONDS)
    with pytest.raises(RuntimeError, match="is closed"):
        consumer.poll(0)


def test_a_registry_that_is_away_loses_nothing(kafka: KafkaSection, log: KafkaLog) -> None:
    away = kafka.model_copy(update={"schema_registry_url": f"http://127.0.0.1:{free_ports(1)[0]}"})
    registered = b"\x00\x00\x00\x00\x07" + Codec().encode(received(1))[10:]
    write(log, f"{kafka.topic_prefix}mail.inbound", [registered, Codec().encode(received(2))])()
    with MailConsumer(away, group=f"desk-{uuid4().hex}") as consumer:
        for _ in range(2):
            with pytest.raises(LogUnavailable, match=r"schema registry 127\.0\.0\.1 does not answer"):
                take(consumer, 1)


def test_a_consumer_of_a_missing_topic_is_told(kafka_bootstrap: str) -> None:
    section = KafkaSection(bootstrap_servers=kafka_bootstrap, topic_prefix="nowhere.")
    with (
        MailConsumer(section, group=f"desk-{uuid4().hex}") as consumer,
        pytest.raises(LogUnavailable, match=r"nowhere\.mail\.inbound does not exist"),
    ):
        take(consumer, 1)


def test_statuses_can_be_consumed(kafka: KafkaSection, log: KafkaLog) -> None:
    status = MailStatus(
        status_id="s1",
        occurred_at=NOW,
        state=MailState.SENT,
        final=True,
        topic_id="x",
        partition=0,
        offset=0,
        cause="accepted",
        reason="taken",
        attempt=1,
        instance="i",
    )
    write(log, f"{kafka.topic_prefix}mail.outbound.status", [Codec().encode(status)])()
    with StatusConsumer(kafka, group=f"desk-{uuid4().hex}") as consumer:
        alarm = threading.Timer(WAIT_SECONDS, consumer.stop)
        alarm.start()
        assert next(iter(consumer)).event == status
        alarm.cancel()


def test_feedback_can_be_consumed(kafka: KafkaSection, log: KafkaLog) -> None:
    feedback = MailFeedback(
        feedback_id="f1",
        reported_at=NOW,
        kind=FeedbackKind.BOUNCE,
        permanence=Permanence.HARD,
        ticket_id="4711",
        source_event_id="e1",
        source_mailbox="support",
        reason="delivery status: failed",
        recipient="ann@example.org",
        recipient_proven=True,
        status="5.1.1",
        smtp_code=550,
    )
    write(log, f"{kafka.topic_prefix}mail.outbound.feedback", [Codec().encode(feedback)])()
    with FeedbackConsumer(kafka, group=f"desk-{uuid4().hex}") as consumer:
        alarm = threading.Timer(WAIT_SECONDS, consumer.stop)
        alarm.start()
        assert next(iter(consumer)).event == feedback
        alarm.cancel()
