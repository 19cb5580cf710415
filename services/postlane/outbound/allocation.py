"""Shares the relays' limits out: the owner of a partition of mail.relays is the allocator of the relays whose records stand there.

Owned as all partitions are: assigned by the group, and fenced by the transactional id. A partition without a configured relay is left alone.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import uuid4

import structlog

from postlane.core.events.relay_lease import LeaseKind, RelayLease
from postlane.core.reconnect import reconnect_seconds
from postlane.core.sharing.allocator import Entry
from postlane.core.sharing.partition_office import Decided, PartitionOffice
from postlane.core.sharing.terms import Terms
from postlane.outbound.lease_records import LeaseRecords
from postlane.ports import (
    Clock,
    CommitPoint,
    EventLog,
    Fenced,
    GroupMember,
    LogRecord,
    LogUnavailable,
    LogWriter,
    TopicPartition,
    TransactionAborted,
)

TICK_SECONDS = 0.25  # without a record; what a request asks is answered as soon as it is read
RELEASE_SECONDS = 3.0  # for the transaction that is running
UNREAD_SECONDS = 5.0  # what we committed is read back in milliseconds
READ_SECONDS_MAX = 40.0  # without progress; an open transaction is over after 30 s (adapters.kafka_clients)

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationParts:
    """`terms` of all configured relays; `group` shares the partitions out and begins the transactional ids."""

    event_log: EventLog
    records: LeaseRecords
    terms: Mapping[str, Terms]
    group: str
    steady: Clock


@dataclass(slots=True)
class _Held:
    """A partition while the group says that it is ours. `inbox`: what was fetched and not read yet, of the running fetch session."""

    task: "asyncio.Task[None] | None" = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    session: int = -1
    inbox: list[LogRecord] = field(default_factory=list)
    probes_wanted: set[str] = field(default_factory=set)
    lost_place: bool = False


class Allocation:
    """A GroupListener: its methods up to `stumbled` are called from the member's thread, the others on the event loop."""

    def __init__(self, parts: AllocationParts) -> None:
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._held: dict[int, _Held] = {}
        self._member: asyncio.Future[GroupMember] = self._loop.create_future()
        self._wanted = {parts.records.place_of(relay).partition for relay in parts.terms}

    def allots(self, relay: str) -> bool:
        """Whether this process is the relay's allocator, as the group has it."""
        return self._parts.records.place_of(relay).partition in self._held

    def probe_wanted(self, relay: str) -> None:
        """A person wants a held relay tried at once; the word of whose allocator we are not concerns another process."""
        held = self._held.get(self._parts.records.place_of(relay).partition)
        if held is not None:
            held.probes_wanted.add(relay)
            held.wake.set()

    async def join(self) -> None:
        """Become a member."""
        parts = self._parts
        # Joining makes clients, and leaving waits for the broker: both stay off the event loop.
        member = await asyncio.to_thread(parts.event_log.join, parts.group, parts.records.topic, self)
        self._member.set_result(member)

    async def close(self) -> None:
        """Give everything back."""
        if self._member.done():
            await asyncio.to_thread(self._member.result().close)

    # The group's words

    def assigned(self, partitions: Sequence[int]) -> None:
        """See GroupListener."""
        self._loop.call_soon_threadsafe(self._begin, tuple(partitions))

    def revoked(self, partitions: Sequence[int]) -> None:
        """See GroupListener."""
        ended = asyncio.run_coroutine_threadsafe(self._end(tuple(partitions)), self._loop)
        with contextlib.suppress(FutureTimeoutError, CancelledError):
            ended.result(RELEASE_SECONDS + 1.0)

    def lost(self, partitions: Sequence[int]) -> None:
        """See GroupListener."""
        self._loop.call_soon_threadsafe(self._forget, tuple(partitions))

    def fetched(self, partition: int, session: int, records: list[LogRecord]) -> None:
        """See GroupListener."""
        self._loop.call_soon_threadsafe(self._take_in, partition, session, records)

    def stumbled(self, error: str, fatal: bool) -> None:
        """See GroupListener; the senders' own member tells people that Kafka is away. Fatal: a place is lost, so all is read anew."""
        log.debug("allocation_stumbled", reason=error, fatal=fatal)
        if fatal:
            self._loop.call_soon_threadsafe(self._lose_places)

    # On the event loop

    def _begin(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            if partition not in self._held and partition in self._wanted:
                held = self._held[partition] = _Held()
                held.task = asyncio.create_task(self._hold(partition, held))

    async def _end(self, partitions: Sequence[int]) -> None:
        tasks = [self._stop(partition) for partition in partitions]
        running = [task for task in tasks if task is not None]
        if running:
            await asyncio.wait(running, timeout=RELEASE_SECONDS)
        for task in running:
            task.cancel()

    def _stop(self, partition: int) -> "asyncio.Task[None] | None":
        held = self._held.pop(partition, None)
        if held is None:
            return None
        held.stop.set()
        held.wake.set()
        return held.task

    def _forget(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            task = self._stop(partition)
            if task is not None:
                task.cancel()

    def _lose_places(self) -> None:
        for held in self._held.values():
            held.lost_place = True
            held.wake.set()

    def _take_in(self, partition: int, session: int, records: list[LogRecord]) -> None:
        held = self._held.get(partition)
        if held is not None and held.session == session:
            held.inbox += records
            held.wake.set()

    async def _hold(self, partition: int, held: _Held) -> None:
        """Take over and allocate until told to stop; whatever goes wrong, what Kafka holds is the truth to begin from anew."""
        member, failures = await self._member, 0
        while not held.stop.is_set():
            allocator = _PartitionAllocator(self._parts, partition, held, member)
            failures += 1
            try:
                await allocator.run()
            except (Fenced, LogUnavailable, TransactionAborted) as error:
                log.warning("allocation_interrupted", partition=partition, reason=str(error))
            except Exception:
                log.exception("allocation_fault", partition=partition)
            finally:
                allocator.close()
            if allocator.in_office:
                failures = 1  # the first since it was taken over
            if not held.stop.is_set():
                with contextlib.suppress(TimeoutError):
                    pause = reconnect_seconds(min(failures, 4), random.random())  # noqa: S311 - spreads
                    await asyncio.wait_for(held.stop.wait(), pause)


class _PartitionAllocator:
    """From one take-over to the next."""

    def __init__(self, parts: AllocationParts, partition: int, held: _Held, member: GroupMember) -> None:
        self._parts = parts
        self._member = member
        self._held = held
        self._at = TopicPartition(parts.records.topic, partition)
        self._writer: LogWriter = parts.event_log.writer(f"{parts.group}-{partition}")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"allocation-{partition}")
        self._unread: int | None = None  # the offset of what we wrote last, until it is read back
        self._written_at = 0.0
        terms = {name: its for name, its in parts.terms.items() if parts.records.place_of(name) == self._at}
        self._office = PartitionOffice(terms, f"allocator-{uuid4()}", parts.steady())
        self.in_office = False

    async def run(self) -> None:
        """Raises Fenced, LogUnavailable."""
        steady, held = self._parts.steady, self._held
        entries, position = await self._blocking(self._take_over)
        self._office.read(entries, position, steady())
        self._office.caught_up(steady())
        held.inbox.clear()
        held.lost_place = False
        held.session = self._member.start(self._at.partition, position)
        self.in_office = True
        log.info("relays_taken_over", partition=self._at.partition, relays=sorted(self._office.allocators))
        while not held.stop.is_set() and not self._office.deposed:
            await self._read()
            decided = self._office.decide(steady())
            if decided is not None:
                await self._write(decided)
            elif self._unread is not None and steady() - self._written_at > UNREAD_SECONDS:
                await self._blocking(self._reveal)
                self._written_at = steady()

    def close(self) -> None:
        """Write nothing any more; does not wait."""
        asyncio.get_running_loop().run_in_executor(None, self._writer.close)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _take_over(self) -> tuple[list[Entry], int]:
        self._writer.take_over()
        event_log, at = self._parts.event_log, self._at
        if event_log.hidden(at) is not None:
            self._reveal()
        bounds, point = event_log.bounds(at), event_log.committed(self._parts.group, at)
        known = (
            point is not None and bounds.low <= point.offset <= bounds.end
        )  # else retention, or a new topic
        start = point.offset if point is not None and known else bounds.low
        batches = event_log.read(at, start, bounds.end, READ_SECONDS_MAX)
        return [entry for batch in batches for entry in self._parts.records.entries(batch)], bounds.end

    def _reveal(self) -> None:
        """End a transaction that the broker forgot to mark as ended here: what the same id commits next is marked for both.

        See outbound.takeover; until then nobody can read what was written behind it, be it of a former owner or our own.
        """
        relay = min(self._office.allocators)
        nothing = RelayLease(relay=relay, kind=LeaseKind.OTHER, written_by=self._office.name)
        self._writer.stage([self._parts.records.record(nothing)])
        self._writer.commit()
        log.warning("forgotten_transaction_ended", topic=self._at.topic, partition=self._at.partition)

    async def _read(self) -> None:
        """Raises LogUnavailable where what was to be read next is no longer there: the topic was made anew, or has lost its end."""
        held = self._held
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(held.wake.wait(), TICK_SECONDS)
        held.wake.clear()
        if held.lost_place:
            raise LogUnavailable(f"{self._at.topic} {self._at.partition} does not go on where it was read to")
        records, held.inbox = held.inbox, []
        if records:
            entries = self._parts.records.entries(records)
            self._office.read(entries, records[-1].offset + 1, self._parts.steady())
            if self._unread is not None and records[-1].offset >= self._unread:
                self._unread = None
        while held.probes_wanted:
            self._office.probe_wanted(held.probes_wanted.pop(), self._parts.steady())

    async def _write(self, decided: Decided) -> None:
        """One transaction. Raises Fenced; LogUnavailable after which it surely did not happen."""
        try:
            self._unread = await self._blocking(partial(self._transact, decided))
            self._written_at = self._parts.steady()
        except TransactionAborted as error:
            log.info("allocation_aborted", partition=self._at.partition, reason=str(error))
            self._office.aborted(self._parts.steady())
        else:
            self._office.committed(self._parts.steady())

    def _transact(self, decided: Decided) -> int:
        """The last record's offset."""
        offsets = self._writer.stage([self._parts.records.record(lease) for lease in decided.leases])
        if decided.commit_to is None:
            self._writer.commit()
        else:
            self._writer.commit(self._member, [(self._at, CommitPoint(decided.commit_to, ""))])
        return offsets[-1]

    async def _blocking(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
