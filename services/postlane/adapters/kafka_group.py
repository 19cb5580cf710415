"""GroupMember on two consumers: one holds the membership, the other fetches.

The first subscribes (cooperative-sticky) and its partitions stay paused for ever; the second is only ever told
which partitions to fetch and from where. So `pause` is an unassign and `start` an assign, and librdkafka's pause, which
purges what was read ahead and can leave a partition stuck after a rebalance (librdkafka issues 1849 and 5591), is not needed.
Both are driven by one thread; every call of the listener comes from it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, assert_never

from confluent_kafka import OFFSET_END, Consumer, KafkaError, Message, TopicPartition

from postlane import ports
from postlane.adapters.kafka_clients import describe
from postlane.ports import Fenced, GroupListener, LogRecord

POLL_SECONDS = 0.1  # how late a rebalance or a command may be noticed at light load
BATCH_RECORDS_MAX = 500
REPEAT_SECONDS = (
    2.0  # the same trouble is told again only after this: two clients report every refused connection
)
# For the farewell: in the middle of a rebalance the broker reads it only when the rebalance is over, which can take as long as the
# session of a member that has just died. By then everything is committed and given back, so nobody needs to wait for that.
LEAVE_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class _Start:
    partition: int
    offset: int
    session: int


@dataclass(frozen=True, slots=True)
class _Pause:
    partition: int


@dataclass(frozen=True, slots=True)
class _Close:
    pass


class KafkaGroupMember:
    """See ports.GroupMember."""

    def __init__(
        self,
        member_config: dict[str, Any],
        fetcher_config: dict[str, Any],
        topic: str,
        listener: GroupListener,
    ) -> None:
        self._topic = topic
        self._listener = listener
        self._commands: SimpleQueue[_Start | _Pause | _Close] = SimpleQueue()
        self._owned: frozenset[int] = frozenset()
        self._started: dict[int, int] = {}  # partition -> fetch session
        self._sessions = count(1)
        self._told: dict[str, float] = {}
        self._left = False
        self._released = threading.Event()
        self._metadata: Any = None
        self._asking = threading.Lock()  # held while the membership's client is polled, asked or closed
        self._membership = Consumer(member_config | {"error_cb": self._report})
        self._fetcher = Consumer(fetcher_config | {"error_cb": self._report})
        self._thread = threading.Thread(target=self._run, name=f"kafka-{topic}", daemon=True)
        self._thread.start()

    def start(self, partition: int, offset: int) -> int:
        """See ports.GroupMember.start; ignored where the partition is no longer ours."""
        session = next(self._sessions)
        self._commands.put(_Start(partition, offset, session))
        return session

    def pause(self, partition: int) -> None:
        """See ports.GroupMember.pause."""
        self._commands.put(_Pause(partition))

    def close(self) -> None:
        """See ports.GroupMember.close; called by the listener itself it only asks for the end."""
        self._commands.put(_Close())
        if threading.current_thread() is not self._thread:
            self._released.wait()
            self._thread.join(LEAVE_SECONDS_MAX)

    def metadata(self) -> Any:
        """Member id and generation, for send_offsets_to_transaction. Raises Fenced after close.

        While the client is polled it answers nobody else, and `revoked`, whose last commit needs the answer, is called from within:
        then it is what the client said last. A generation that has just passed costs one aborted transaction.
        """
        if self._asking.acquire(blocking=False):
            try:
                if self._left:
                    raise Fenced("the group membership is closed")
                self._remember_metadata()
            finally:
                self._asking.release()
        return self._metadata

    def owns(self, partitions: list[int]) -> bool:
        """Whether all of these are assigned to us as far as we know."""
        return self._owned.issuperset(partitions)

    def _run(self) -> None:
        try:
            self._membership.subscribe(
                [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
            )
            while self._obey():
                self._serve_membership()
                self._fetch()
            self._release_all()
        except Exception as error:
            self._listener.stumbled(f"group member of {self._topic} ended: {error}", fatal=True)
            raise
        finally:
            with self._asking:
                self._left = True
            self._released.set()
            try:
                self._membership.close()
            finally:
                self._fetcher.close()

    def _obey(self) -> bool:
        """Carry out what was asked for; False at the end."""
        while True:
            try:
                command = self._commands.get_nowait()
            except Empty:
                return True
            match command:
                case _Start(partition, offset, session):
                    self._unfetch([partition])
                    if partition in self._owned:
                        self._fetcher.incremental_assign([TopicPartition(self._topic, partition, offset)])
                        self._started[partition] = session
                case _Pause(partition):
                    self._unfetch([partition])
                case _Close():
                    return False
                case _:
                    assert_never(command)

    def _serve_membership(self) -> None:
        with self._asking:
            message = self._membership.poll(0)
            self._remember_metadata()
        if message is not None and (error := message.error()) is not None:
            self._report(error)

    def _remember_metadata(self) -> None:
        self._metadata = self._membership.consumer_group_metadata()

    def _fetch(self) -> None:
        # consume(500, 0.1) alone would wait out its time at light load.
        first = self._fetcher.poll(POLL_SECONDS)
        if first is None:
            return
        messages = [first, *self._fetcher.consume(BATCH_RECORDS_MAX - 1, 0)]
        batches: dict[int, list[LogRecord]] = {}
        for message in messages:
            error, partition = message.error(), message.partition()
            if error is not None:
                self._fetch_failed(message, error)
            elif partition in self._started:
                batches.setdefault(partition, []).append(record_of(message))
        for partition, records in batches.items():
            self._listener.fetched(partition, self._started[partition], records)

    def _fetch_failed(self, message: Message, error: KafkaError) -> None:
        lost_place = error.code() == KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
        place = f"{message.topic()} {message.partition()}" if message.topic() else self._topic
        self._listener.stumbled(f"{place}: {describe(error)}", fatal=lost_place or error.fatal())

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # An explicit place spares the look-up of committed offsets, which belong to the service alone.
        consumer.incremental_assign([TopicPartition(p.topic, p.partition, OFFSET_END) for p in partitions])
        consumer.pause(partitions)
        numbers = _numbers(partitions)
        self._remember_metadata()
        self._owned |= frozenset(numbers)
        if numbers:
            self._listener.assigned(numbers)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._give_up(consumer, partitions, self._listener.revoked)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._give_up(consumer, partitions, self._listener.lost)

    def _give_up(
        self, consumer: Consumer, partitions: list[TopicPartition], tell: Callable[[list[int]], None]
    ) -> None:
        numbers = [number for number in _numbers(partitions) if number in self._owned]
        try:
            self._unfetch(numbers)
            if numbers:
                self._remember_metadata()
                tell(numbers)
        finally:
            self._owned -= frozenset(numbers)
            consumer.incremental_unassign(partitions)

    def _release_all(self) -> None:
        # Before close(): while that runs, librdkafka answers no question about the group, and the last commit asks one.
        owned = sorted(self._owned)
        self._unfetch(owned)
        if owned:
            self._listener.revoked(owned)
        self._owned = frozenset()

    def _unfetch(self, partitions: list[int]) -> None:
        running = [partition for partition in partitions if partition in self._started]
        for partition in running:
            del self._started[partition]
        if running:
            self._fetcher.incremental_unassign([TopicPartition(self._topic, p) for p in running])

    def _report(self, error: KafkaError) -> None:
        text, now = describe(error), time.monotonic()
        if now - self._told.get(text, -REPEAT_SECONDS) >= REPEAT_SECONDS:
            self._told = {text: now}
            self._listener.stumbled(text, fatal=error.fatal())


def record_of(message: Message) -> LogRecord:
    """A message without error as the services know it."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return LogRecord(
        at=ports.TopicPartition(topic, partition),
        offset=offset,
        timestamp_ms=message.timestamp()[1],
        key=message.key(),
        value=message.value(),
        headers=_headers(message),
    )


def _headers(message: Message) -> tuple[tuple[str, bytes], ...]:
    try:
        headers = message.headers()
    except (SystemError, UnicodeDecodeError):
        return ()  # a name that is not UTF-8; the client cannot give the rest either (asked again, it would crash)
    pairs = headers.items() if isinstance(headers, dict) else headers or ()
    return tuple((name, value.encode() if isinstance(value, str) else value or b"") for name, value in pairs)


def _numbers(partitions: list[TopicPartition]) -> list[int]:
    return sorted(partition.partition for partition in partitions)
