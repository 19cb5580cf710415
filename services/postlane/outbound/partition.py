"""The owner of one partition: its lanes, its transactional writer, and the loop that makes outcomes durable."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import assert_never

import structlog

from postlane.core.lane_mail import (
    Aborted,
    Attempt,
    CommitBatch,
    Committed,
    CutDue,
    Effect,
    Event,
    Load,
    PauseFetching,
    ResumeFetching,
    Staged,
    WriteBatch,
)
from postlane.core.lane_steps import step
from postlane.core.lanes import Lanes
from postlane.core.pointers import encode_pointers
from postlane.core.status import Origin
from postlane.outbound.gauges import Gauges
from postlane.outbound.journal_reader import JournalReader
from postlane.outbound.records import Claims, RecordWriter
from postlane.ports import (
    BlobStore,
    CommitPoint,
    Fenced,
    GroupMember,
    LogUnavailable,
    LogWriter,
    RecordRefused,
    TopicPartition,
    TransactionAborted,
)

BACK_OFF_SECONDS = (
    0.1,
    0.5,
    1.0,
    2.0,
    5.0,
)  # between tries to commit while Kafka does not answer; the last repeats

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionParts:
    """What a partition's owner works with; `attempt` starts an SMTP attempt for an owner, `lost` hears of its end by fencing."""

    partition: int
    main: TopicPartition
    writer: LogWriter
    member: GroupMember
    records: RecordWriter
    journal: JournalReader
    blobs: BlobStore
    gauges: Gauges
    attempt: "Callable[[PartitionOwner, Attempt], None]"
    lost: "Callable[[PartitionOwner], None]"
    pump: Callable[[], None]
    commit_interval_seconds: float


class PartitionOwner:
    """Lives from take-over to release; every call is made on the event loop."""

    def __init__(self, parts: PartitionParts, lanes: Lanes) -> None:
        self.parts = parts
        self.lanes = lanes
        self.partition = parts.partition
        self.alive = True
        self.starts = True
        self.in_flight: set[Origin] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stop_committing = asyncio.Event()
        self._staged: list[CommitBatch] = []
        self._batch: WriteBatch | None = None
        self._claims: Claims = {}
        self._slim: set[Origin] = set()
        self._loads: list[Load] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"writer-{parts.partition}")
        self._tasks: set[asyncio.Task[None]] = set()
        self._committer = asyncio.create_task(self._commit_loop())

    def start(self) -> None:
        """Begin to read the main partition."""
        self.parts.member.start(self.partition, self.lanes.position)

    def handle(self, event: Event) -> None:
        """Step the lanes and do what they ask for."""
        if self.alive:
            for effect in step(self.lanes, event, time.time()):
                self._execute(effect)

    def stop_starting(self) -> None:
        """Start no more attempts; those in flight go on."""
        self.starts = False

    def attempt_over(self, origin: Origin) -> None:
        """An attempt has come back."""
        self.in_flight.discard(origin)
        if not self.in_flight:
            self._idle.set()

    async def release(self, seconds: float) -> None:
        """Finish what is in flight, make it durable, give the partition back; what takes longer than `seconds` is given up."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
                self._stop_committing.set()
                await self._committer
        except TimeoutError:
            log.warning(
                "partition_release_cut_short", partition=self.partition, in_flight=len(self.in_flight)
            )
        self.drop()

    def drop(self) -> None:
        """Forget the partition at once: nothing more is written about it."""
        if not self.alive:
            return
        self.alive = False
        self._stop_committing.set()
        self._committer.cancel()
        for task in self._tasks:
            task.cancel()
        # Another thread: the writer's own may be repeating a commit, and close() is what ends that.
        asyncio.get_running_loop().run_in_executor(None, self.parts.writer.close)
        self._thread.shutdown(wait=False)
        self.parts.gauges.forget(self.partition)

    # Effects

    def _execute(self, effect: Effect) -> None:
        match effect:
            case Attempt():
                self.in_flight.add(effect.origin)
                self._idle.clear()
                self.parts.attempt(self, effect)
            case Load():
                self._loads.append(effect)
                if len(self._loads) == 1:
                    self._spawn(self._load())
            case WriteBatch():
                self._batch = effect
            case CommitBatch():
                self._staged.append(effect)
            case PauseFetching():
                self.parts.member.pause(self.partition)
            case ResumeFetching():
                self.parts.member.start(self.partition, effect.position)
            case _:
                assert_never(effect)

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self) -> None:
        await asyncio.sleep(0)  # let one pass of the lanes ask for all it wants, then read once
        while self._loads:
            loads, self._loads = self._loads, []
            for event in await self.parts.journal.load(self.partition, loads):
                self.handle(event)
        self.parts.pump()

    # Committing

    async def _commit_loop(self) -> None:
        while True:
            stopping = self._stop_committing.is_set()
            try:
                await self._commit_once()
            except Fenced as error:
                log.warning("partition_fenced", partition=self.partition, reason=str(error))
                self.parts.gauges.transaction("fenced")
                self.parts.lost(self)
                return
            if stopping and not self.lanes.committing.uncommitted:
                return
            if not stopping:
                await self._pause_between_commits()

    async def _pause_between_commits(self) -> None:
        try:
            async with asyncio.timeout(self.parts.commit_interval_seconds):
                await self._stop_committing.wait()
        except TimeoutError:
            return

    async def _commit_once(self) -> None:
        """Cut a batch and see it through. Raises Fenced."""
        failures = 0
        while True:
            self._batch = None
            self.handle(CutDue())
            batch = self._batch
            if batch is None:
                return
            started = time.monotonic()
            try:
                await self._write(batch)
            except (TransactionAborted, LogUnavailable) as error:
                self.handle(Aborted())
                self.parts.gauges.transaction("aborted")
                delay = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
                log.warning(
                    "commit_failed", partition=self.partition, reason=str(error), retry_in_seconds=delay
                )
                failures += 1
                await asyncio.sleep(delay)
                continue
            self.parts.gauges.committed(batch, time.monotonic() - started)
            self.handle(Committed())
            self.parts.pump()
            return

    async def _write(self, batch: WriteBatch) -> None:
        loop = asyncio.get_running_loop()
        while True:
            staged = self.parts.records.records(batch, self._claims, frozenset(self._slim))
            try:
                offsets = await loop.run_in_executor(self._thread, self.parts.writer.stage, staged.records)
                break
            except RecordRefused as error:
                self.parts.gauges.transaction("refused")
                await self._make_smaller(batch, staged.origins[error.index], error)
        self.handle(Staged(*staged.split(offsets)))
        commit = self._staged.pop()
        point = CommitPoint(commit.base, encode_pointers(commit.pointers))
        await loop.run_in_executor(
            self._thread, self.parts.writer.commit, self.parts.member, ((self.parts.main, point),)
        )
        self._forget_smaller()

    async def _make_smaller(self, batch: WriteBatch, origin: Origin, error: RecordRefused) -> None:
        """One record is too large for the broker: its bytes go to the blob store, its status drops what is long."""
        if origin in self._slim:
            raise TransactionAborted(
                f"offset {origin.offset} is refused even without its bytes: {error.reason}"
            ) from error
        log.warning("record_refused", partition=self.partition, offset=origin.offset, reason=error.reason)
        self._slim.add(origin)
        contents = [copy.content for copy in batch.puts if copy.put.origin == origin]
        contents += [copy.content for copy in batch.dead if copy.dead.origin == origin]
        for content in contents[:1]:
            if content.value:
                self._claims[origin] = await self.parts.blobs.put(content.value)

    def _forget_smaller(self) -> None:
        unfinished = self.lanes.mails
        self._slim = {origin for origin in self._slim if origin in unfinished}
        self._claims = {origin: ref for origin, ref in self._claims.items() if origin in unfinished}

    def report(self) -> None:
        """Set the gauges of this partition."""
        states = Counter("parked" if mail.parked else "memory" for mail in self.lanes.mails.values())
        self.parts.gauges.partition(self.partition, self.lanes, states, len(self.in_flight))
