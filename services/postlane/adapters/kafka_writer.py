"""LogWriter on a transactional producer: one transactional id, at most one open transaction."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from threading import Event, RLock, Thread
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from postlane import ports
from postlane.adapters.kafka_clients import (
    DELIVERY_TIMEOUT_MS,
    describe,
    error_of,
    is_fenced,
    is_refusal,
    is_stale_member,
)
from postlane.adapters.kafka_group import KafkaGroupMember
from postlane.ports import CommitPoint, Fenced, LogUnavailable, NewRecord, RecordRefused, TransactionAborted

TAKE_OVER_SECONDS = 15.0
ABORT_SECONDS = 10.0
SEND_OFFSETS_SECONDS = (
    10.0  # librdkafka repeats inside; when the time is over the transaction must be aborted
)
# librdkafka does not keep that limit (issues 5456 and 5511): what waits for a coordinator that is no more may wait for ever.
COME_BACK_SECONDS = 15.0  # longer than a session: while Kafka is away, the membership is lost first
CALL_SECONDS = 1.0  # calls that may be repeated are cut into pieces, so that close() is heard
BACKOFF_SECONDS = 0.2
CLOSE_SECONDS = 1.0
DELIVERY_SECONDS = DELIVERY_TIMEOUT_MS / 1000 + 5.0  # every record is delivered or given up before
METADATA_BYTES_MAX = 4096  # the broker's default offset.metadata.max.bytes


class _State(Enum):
    NEW = auto()
    READY = auto()
    OPEN = auto()
    COMMITTING = auto()  # and until that is known nothing may abort it
    BROKEN = auto()  # the transaction must be aborted before the next one
    GONE = auto()


class KafkaWriter:
    """See ports.LogWriter. `close` may be called from any thread and ends what another thread repeats."""

    def __init__(self, config: dict[str, Any], come_back_seconds: float = COME_BACK_SECONDS) -> None:
        self._config = config
        self._come_back_seconds = come_back_seconds
        self._name: str = config["transactional.id"]
        self._state = _State.NEW
        self._closing = Event()
        self._busy = RLock()
        self._made: Producer | None = None

    def take_over(self) -> None:
        """Create the producer if need be and call `init_transactions` until it succeeds or the time is over."""
        with self._busy:
            self._refuse_if_gone()
            if self._made is None:
                self._made = Producer(self._config)
            self._state = _State.NEW
            try:
                self._repeat(self._producer.init_transactions, TAKE_OVER_SECONDS)
            except KafkaException as exception:
                error = error_of(exception)
                if is_fenced(error):
                    raise self._gone(error) from None
                if error.fatal():
                    self._discard()  # a producer with a fatal error cannot be used again
                raise LogUnavailable(f"cannot take over {self._name}: {describe(error)}") from None
            self._state = _State.READY

    def stage(self, records: Sequence[NewRecord]) -> list[int]:
        """See ports.LogWriter.stage."""
        with self._busy:
            self._begin()
            offsets: dict[int, int] = {}
            errors: dict[int, KafkaError] = {}
            try:
                for index, record in enumerate(records):
                    self._produce(record, partial(_note_delivery, index, offsets, errors))
                self._await_deliveries(len(records), offsets, errors)
            except KafkaException as exception:
                errors[index] = error_of(exception)
            except Exception:  # a record that is no record: the fault of the caller
                self._abort()
                raise
            if errors or len(offsets) < len(records):
                raise self._undo(records, errors)
            return [offsets[index] for index in range(len(records))]

    def commit(
        self,
        group_member: ports.GroupMember | None = None,
        points: Sequence[tuple[ports.TopicPartition, CommitPoint]] = (),
    ) -> None:
        """See ports.LogWriter.commit."""
        with self._busy:
            if self._state is not _State.OPEN:
                self._refuse_if_gone()
                raise TransactionAborted(f"{self._name} has no open transaction")
            if points:
                self._send_offsets(group_member, points)
            self._state = _State.COMMITTING
            try:
                self._repeat(self._producer.commit_transaction, None)
            except KafkaException as exception:
                raise self._failed_commit(error_of(exception)) from None
            self._state = _State.READY

    def abort(self) -> None:
        """See ports.LogWriter.abort."""
        with self._busy:
            self._refuse_if_gone()
            if self._state in {_State.OPEN, _State.BROKEN}:
                self._abort()

    def close(self) -> None:
        """See ports.LogWriter.close; after it every call raises Fenced."""
        self._closing.set()
        with self._busy:
            if self._state in {_State.OPEN, _State.BROKEN}:
                with suppress(KafkaException):  # else the next owner's take_over aborts it
                    self._producer.abort_transaction(CLOSE_SECONDS)
            self._state = _State.GONE
            self._discard()

    @property
    def _producer(self) -> Producer:
        assert self._made is not None, "take_over comes first"
        return self._made

    def _discard(self) -> None:
        if self._made is not None:
            self._made.purge()
            self._made = None  # librdkafka ends its threads when the object goes

    def _begin(self) -> None:
        self._refuse_if_gone()
        if self._state is _State.OPEN:
            raise RuntimeError(f"{self._name}: stage() before the last transaction was committed")
        if self._state is _State.BROKEN:
            self._abort()
        if self._state is not _State.READY:
            raise LogUnavailable(f"{self._name}: the last transaction cannot be aborted yet")
        try:
            self._producer.begin_transaction()
        except KafkaException as exception:
            raise self._gone(error_of(exception)) from None
        self._state = _State.OPEN

    def _produce(self, record: NewRecord, on_delivery: Callable[[KafkaError | None, Message], None]) -> None:
        deadline = time.monotonic() + DELIVERY_SECONDS
        while True:
            try:
                self._producer.produce(
                    record.to.topic,
                    value=record.value,
                    key=record.key,
                    partition=record.to.partition,
                    headers=list(record.headers),
                    on_delivery=on_delivery,
                )
            except BufferError:  # our own queue is full: let some go out first
                if time.monotonic() > deadline or self._closing.is_set():
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None  # noqa: SLF001
                self._producer.poll(0.1)
            else:
                return

    def _await_deliveries(self, count: int, offsets: dict[int, int], errors: dict[int, KafkaError]) -> None:
        """Wait for every report or the first bad one: behind a refused record librdkafka sends nothing more."""
        deadline = time.monotonic() + DELIVERY_SECONDS
        while len(offsets) < count and not errors and time.monotonic() < deadline:
            if self._closing.is_set():
                return
            self._producer.poll(CALL_SECONDS)

    def _undo(self, records: Sequence[NewRecord], errors: dict[int, KafkaError]) -> Exception:
        """Abort, and say what the errors of the records come down to."""
        self._abort()
        refused = [index for index, error in errors.items() if is_refusal(error)]
        if refused:
            # A batch is refused as a whole; batches are small, so the largest of its records is to blame.
            index = max(refused, key=lambda index: _size(records[index]))
            return RecordRefused(index, describe(errors[index]))
        first = errors[min(errors)] if errors else KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001
        where = records[min(errors)].to if errors else None
        place = f" to {where.topic} {where.partition}" if where else ""
        return LogUnavailable(f"{self._name} cannot write{place}: {describe(first)}")

    def _send_offsets(
        self,
        group_member: ports.GroupMember | None,
        points: Sequence[tuple[ports.TopicPartition, CommitPoint]],
    ) -> None:
        if not isinstance(group_member, KafkaGroupMember):
            raise TypeError("offsets are committed for a member that this log's join() returned")
        for at, point in points:
            if len(point.metadata.encode()) > METADATA_BYTES_MAX:
                self._abort()
                raise ValueError(
                    f"commit metadata of {at.topic} {at.partition} is over {METADATA_BYTES_MAX} bytes"
                )
        offsets = [
            TopicPartition(at.topic, at.partition, point.offset, point.metadata) for at, point in points
        ]
        try:
            metadata = group_member.metadata()  # fresh, because every rebalance changes the generation
        except Fenced:
            self._abort()
            raise
        producer = self._producer
        try:
            self._repeat(
                lambda seconds: self._come_back(
                    partial(producer.send_offsets_to_transaction, offsets, metadata, seconds)
                ),
                None,
                SEND_OFFSETS_SECONDS,
            )
        except KafkaException as exception:
            error = error_of(exception)
            failure = self._failed_commit(error)
            if is_stale_member(error) and not group_member.owns([at.partition for at, _ in points]):
                failure = Fenced(f"{self._name}: {describe(error)}")
            raise failure from None

    def _come_back(self, call: Callable[[], None]) -> None:
        """Make a call that librdkafka may never end. Raises Fenced then; the next `take_over` ends what it has open."""
        answer = Future[None]()

        def run() -> None:
            try:
                call()
            except Exception as error:  # noqa: BLE001 (handed over)
                answer.set_exception(error)
            else:
                answer.set_result(None)

        Thread(target=run, name=f"offsets-{self._name}", daemon=True).start()
        deadline = time.monotonic() + self._come_back_seconds
        while not wait([answer], CALL_SECONDS).done:
            if self._closing.is_set() or time.monotonic() > deadline:
                self._state = _State.GONE
                self._made = None  # the thread keeps the producer, for ever if need be
                raise Fenced(f"{self._name} is given up: the Kafka client does not come back")
        answer.result()

    def _failed_commit(self, error: KafkaError) -> Exception:
        if error.txn_requires_abort():
            self._abort()
            return TransactionAborted(f"{self._name}: {describe(error)}")
        return self._gone(error)

    def _abort(self) -> None:
        """Leave no transaction open, or remember that one still is. Raises Fenced."""
        self._state = _State.BROKEN
        try:
            self._repeat(self._producer.abort_transaction, ABORT_SECONDS)
        except KafkaException as exception:
            error = error_of(exception)
            if error.fatal():
                raise self._gone(error) from None
        else:
            self._state = _State.READY

    def _repeat(
        self, call: Callable[[float], None], seconds: float | None, piece_seconds: float = CALL_SECONDS
    ) -> None:
        """Make a call again, with the same arguments, while librdkafka says that this is right."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                call(piece_seconds)
            except KafkaException as exception:
                error = error_of(exception)
                if error.fatal() or error.txn_requires_abort() or not error.retriable():
                    raise
                if deadline is not None and time.monotonic() > deadline:
                    raise
                if self._closing.wait(BACKOFF_SECONDS):
                    raise Fenced(f"{self._name} was closed while its outcome was unknown") from None
            else:
                return

    def _refuse_if_gone(self) -> None:
        if self._state is _State.GONE or self._closing.is_set():
            raise Fenced(f"{self._name} is no longer ours")

    def _gone(self, error: KafkaError) -> Fenced:
        self._state = _State.GONE
        self._discard()
        return Fenced(f"{self._name}: {describe(error)}")


def _note_delivery(
    index: int,
    offsets: dict[int, int],
    errors: dict[int, KafkaError],
    error: KafkaError | None,
    message: Message,
) -> None:
    if error is not None:
        errors[index] = error
    else:
        offset = message.offset()
        assert offset is not None
        offsets[index] = offset


def _size(record: NewRecord) -> int:
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers
