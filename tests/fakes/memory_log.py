"""EventLog in memory: transactions, fencing, markers that occupy offsets, and a cooperative consumer group.

Faults for tests: `before` is called with the name of every operation first and may raise LogUnavailable or TransactionAborted;
while `forgets_markers` is set, transactions end without a mark in their partitions, as when these have no leader; `leaderless` are partitions
in which they do so anyway.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock

from fakes.memory_following import MemoryFollowing, MemoryPublisher
from fakes.memory_group import Group, MemoryGroupMember
from fakes.memory_partition import Partition, Slot, State, Transaction
from postlane.ports import (
    Bounds,
    CommitPoint,
    Fenced,
    GroupListener,
    GroupMember,
    LogRecord,
    LogUnavailable,
    NewRecord,
    RecordRefused,
    RecordsHeard,
    TopicPartition,
    TransactionAborted,
    Wanted,
)

BATCH_RECORDS_MAX = 500
RECORD_BYTES_MAX = 1_048_576
METADATA_BYTES_MAX = 4096
READ_STEP_SECONDS = 0.005


@dataclass(slots=True)
class Holder:
    """The newest holder of a transactional id and what it has open."""

    epoch: int = 0
    transaction: Transaction | None = None
    unmarked: list[Transaction] = field(default_factory=list)


class MemoryLog:
    """See ports.EventLog. With `threaded=False` nothing moves by itself: `pump()` serves the group members."""

    def __init__(
        self,
        *,
        threaded: bool = True,
        clock: Callable[[], float] = time.time,
        record_bytes_max: int = RECORD_BYTES_MAX,
    ) -> None:
        self.lock = RLock()
        self.clock = clock
        self.record_bytes_max = record_bytes_max
        self.before: Callable[[str], None] = lambda _operation: None
        self.forgets_markers = False
        self.leaderless: set[TopicPartition] = set()
        self.topics: dict[str, list[Partition]] = {}
        self.holders: dict[str, Holder] = {}
        self.groups: dict[str, Group] = {}
        self._topic_ids: dict[str, str] = {}
        self._created = 0
        self._threaded = threaded

    def create_topic(self, name: str, partitions: int) -> None:
        """Create it, or create it anew and empty with another id."""
        with self.lock:
            self._created += 1
            self.topics[name] = [Partition() for _ in range(partitions)]
            self._topic_ids[name] = f"memory-topic-{self._created}"

    def delete_before(self, at: TopicPartition, offset: int) -> None:
        """What retention does."""
        with self.lock:
            self.partition(at).low = offset

    def pump(self) -> bool:
        """Let every member do what it has to do until nothing moves; True if something did."""
        moved = False
        while sum(member.step() for group in self.groups.values() for member in list(group.members)):
            moved = True
        return moved

    def writer(self, transactional_id: str) -> "MemoryWriter":
        """See ports.EventLog.writer."""
        return MemoryWriter(self, transactional_id)

    def topic_id(self, topic: str) -> str:
        """See ports.EventLog.topic_id."""
        with self.lock:
            self._exists(topic)
            return self._topic_ids[topic]

    def partition_count(self, topic: str) -> int:
        """See ports.EventLog.partition_count."""
        with self.lock:
            return len(self._exists(topic))

    def bounds(self, at: TopicPartition) -> Bounds:
        """See ports.EventLog.bounds."""
        self.before("bounds")
        with self.lock:
            partition = self.partition(at)
            return Bounds(partition.low, len(partition.slots))

    def offset_at(self, at: TopicPartition, timestamp_ms: int) -> int:
        """See ports.EventLog.offset_at."""
        self.before("offset_at")
        with self.lock:
            partition = self.partition(at)
            for offset in range(partition.low, len(partition.slots)):
                record = partition.slots[offset].record
                if record is not None and record.timestamp_ms >= timestamp_ms:
                    return offset
            return len(partition.slots)

    def committed(self, group: str, at: TopicPartition) -> CommitPoint | None:
        """See ports.EventLog.committed."""
        self.before("committed")
        with self.lock:
            return self.group(group).points.get(at)

    def read(
        self,
        at: TopicPartition,
        start: int,
        stop: int,
        timeout_seconds: float,
        *,
        wanted: Wanted | None = None,
    ) -> Iterator[list[LogRecord]]:
        """See ports.EventLog.read."""
        self.before("read")
        position = start
        deadline = time.monotonic() + timeout_seconds
        while position < stop:
            with self.lock:
                partition = self.partition(at)
                batch = partition.readable(position, stop)[:BATCH_RECORDS_MAX]
                reached = batch[-1].offset + 1 if len(batch) == BATCH_RECORDS_MAX else partition.stable_end
            kept = [record for record in batch if wanted is None or wanted(record.key, record.value)]
            if kept:
                yield kept
            if reached > position:
                position = reached
                deadline = time.monotonic() + timeout_seconds
            elif not self._threaded or time.monotonic() > deadline:
                raise LogUnavailable(f"{at.topic} {at.partition}: no progress at offset {position} of {stop}")
            else:
                time.sleep(READ_STEP_SECONDS)

    def hidden(self, at: TopicPartition) -> LogRecord | None:
        """See ports.EventLog.hidden."""
        return next((batch[-1] for batch in self.unstable(at)), None)

    def stable_end(self, at: TopicPartition) -> int:
        """See ports.EventLog.stable_end."""
        with self.lock:
            return self.partition(at).stable_end

    def ends(self, places: Collection[TopicPartition], *, stable: bool) -> dict[TopicPartition, int]:
        """See ports.EventLog.ends."""
        self.before("ends")
        with self.lock:
            partitions = {at: self.partition(at) for at in places}
            return {at: one.stable_end if stable else len(one.slots) for at, one in partitions.items()}

    def unstable(self, at: TopicPartition) -> Iterator[list[LogRecord]]:
        """See ports.EventLog.unstable."""
        with self.lock:
            partition = self.partition(at)
            records = [slot.record for slot in partition.slots[partition.stable_end :] if slot.record]
        if records:
            yield records

    def fetch_at(self, at: TopicPartition, offsets: Sequence[int]) -> list[LogRecord]:
        """See ports.EventLog.fetch_at."""
        self.before("fetch_at")
        with self.lock:
            readable = self.partition(at).readable(0, len(self.partition(at).slots))
            wanted = frozenset(offsets)
            return [record for record in readable if record.offset in wanted]

    def follow(self, starts: Mapping[TopicPartition, int], heard: RecordsHeard) -> MemoryFollowing:
        """See ports.EventLog.follow."""
        return MemoryFollowing(self._fetch_safely, starts, heard)

    def publisher(self, name: str) -> MemoryPublisher:
        """See ports.EventLog.publisher."""
        del name
        return MemoryPublisher(self._publish)

    def join(self, group: str, topic: str, listener: GroupListener) -> MemoryGroupMember:
        """See ports.EventLog.join."""
        self.before("join")
        with self.lock:
            partitions = len(self._exists(topic))
            member = MemoryGroupMember(self.group(group), topic, partitions, listener, self._fetch)
        if self._threaded:
            member.run_in_thread()
        return member

    def close(self) -> None:
        """See ports.EventLog.close."""

    def group(self, name: str) -> Group:
        """The group of that name."""
        return self.groups.setdefault(name, Group(name, self.lock))

    def partition(self, at: TopicPartition) -> Partition:
        """One partition. Raises LogUnavailable where there is none, as Kafka does."""
        partitions = self._exists(at.topic)
        if not 0 <= at.partition < len(partitions):
            raise LogUnavailable(f"{at.topic} has no partition {at.partition}")
        return partitions[at.partition]

    def _exists(self, topic: str) -> list[Partition]:
        partitions = self.topics.get(topic)
        if partitions is None:
            raise LogUnavailable(f"topic {topic} does not exist; create it with `postlane topics apply`")
        return partitions

    def _fetch(self, at: TopicPartition, position: int) -> tuple[list[LogRecord], int]:
        """Committed records from there on, and the next position."""
        partition = self.partition(at)
        batch = partition.readable(position, len(partition.slots))[:BATCH_RECORDS_MAX]
        full = len(batch) == BATCH_RECORDS_MAX
        return batch, batch[-1].offset + 1 if full else max(position, partition.stable_end)

    def _fetch_safely(self, at: TopicPartition, position: int) -> tuple[list[LogRecord], int]:
        with self.lock:
            return self._fetch(at, position)

    def _publish(self, new: NewRecord) -> None:
        with self.lock:
            self.append(Transaction(State.COMMITTED), new)

    def append(self, transaction: Transaction, new: NewRecord) -> int:
        """Write a record in a transaction; its offset. The lock is held."""
        partition = self.partition(new.to)
        record = LogRecord(
            at=new.to,
            offset=len(partition.slots),
            timestamp_ms=int(self.clock() * 1000),
            key=new.key,
            value=new.value,
            headers=new.headers,
        )
        partition.slots.append(Slot(record, transaction))
        return record.offset


class MemoryWriter:
    """See ports.LogWriter."""

    def __init__(self, log: MemoryLog, transactional_id: str) -> None:
        self._log = log
        self._id = transactional_id
        self._epoch = 0

    def take_over(self) -> None:
        """See ports.LogWriter.take_over."""
        self._log.before("take_over")
        with self._log.lock:
            holder = self._log.holders.setdefault(self._id, Holder())
            self._end(holder, State.ABORTED)
            holder.epoch += 1
            self._epoch = holder.epoch

    def stage(self, records: Sequence[NewRecord]) -> list[int]:
        """See ports.LogWriter.stage."""
        self._log.before("stage")
        with self._log.lock:
            holder = self._holder()
            if holder.transaction is not None:
                raise RuntimeError(f"{self._id}: stage() before the last transaction was committed")
            holder.transaction = Transaction()
            offsets = []
            for index, new in enumerate(records):
                try:
                    offsets.append(self._append(holder.transaction, new))
                except LogUnavailable:
                    self._end(holder, State.ABORTED)
                    raise
                if len(new.value or b"") > self._log.record_bytes_max:
                    self._end(holder, State.ABORTED)
                    raise RecordRefused(index, "Message size too large")
            return offsets

    def commit(
        self,
        group_member: GroupMember | None = None,
        points: Sequence[tuple[TopicPartition, CommitPoint]] = (),
    ) -> None:
        """See ports.LogWriter.commit."""
        with self._log.lock:
            holder = self._holder()
            if holder.transaction is None:
                raise TransactionAborted(f"{self._id} has no open transaction")
            try:
                self._log.before("commit")
                self._add_points(holder.transaction, group_member, points)
            except (Fenced, TransactionAborted, ValueError):
                self._end(holder, State.ABORTED)
                raise
            self._end(holder, State.COMMITTED)

    def abort(self) -> None:
        """See ports.LogWriter.abort."""
        with self._log.lock:
            self._end(self._holder(), State.ABORTED)

    def close(self) -> None:
        """See ports.LogWriter.close."""
        with self._log.lock:
            holder = self._log.holders.get(self._id)
            if holder is not None and holder.epoch == self._epoch:
                self._end(holder, State.ABORTED)
            self._epoch = 0

    def _holder(self) -> Holder:
        holder = self._log.holders.get(self._id, Holder())
        if self._epoch == 0 or holder.epoch != self._epoch:
            raise Fenced(f"{self._id} is no longer ours")
        return holder

    def _append(self, transaction: Transaction, new: NewRecord) -> int:
        offset = self._log.append(transaction, new)
        self._log.partition(new.to).open_since.setdefault(transaction, offset)
        transaction.touched.add(new.to)
        return offset

    def _add_points(
        self,
        transaction: Transaction,
        group_member: GroupMember | None,
        points: Sequence[tuple[TopicPartition, CommitPoint]],
    ) -> None:
        if not points:
            return
        if not isinstance(group_member, MemoryGroupMember):
            raise TypeError("offsets are committed for a member that this log's join() returned")
        for _, point in points:
            if len(point.metadata.encode()) > METADATA_BYTES_MAX:
                raise ValueError(f"commit metadata is over {METADATA_BYTES_MAX} bytes")
        group_member.check_membership([at.partition for at, _ in points])
        group = group_member.group.name
        transaction.points.extend((group, at, point) for at, point in points)

    def _end(self, holder: Holder, state: State) -> None:
        transaction, holder.transaction = holder.transaction, None
        if transaction is None:
            return
        transaction.state = state
        holder.unmarked.append(transaction)
        if self._log.forgets_markers:
            return
        for at in transaction.touched - self._log.leaderless:
            self._log.partition(at).end(holder.unmarked, state)
        holder.unmarked = [one for one in holder.unmarked if self._is_open(one)]
        if state is State.COMMITTED:
            for group, at, point in transaction.points:
                self._log.group(group).points[at] = point

    def _is_open(self, transaction: Transaction) -> bool:
        return any(transaction in self._log.partition(at).open_since for at in transaction.touched)
