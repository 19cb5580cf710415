"""Makes the outcomes of one partition durable: one transaction per interval, repeated until it is known to have happened."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import structlog

from postlane.core.events.status import Origin
from postlane.core.sending.lane_mail import Aborted, CommitBatch, Committed, CutDue, Event, Staged, WriteBatch
from postlane.core.sending.lanes import Lanes
from postlane.core.sending.pointers import encode_pointers
from postlane.outbound.forgotten_ends import CommittedEnds
from postlane.outbound.gauges import Gauges
from postlane.outbound.records import Claims, Cut, RecordWriter, StagedRecords, origin_of
from postlane.ports import (
    BlobStore,
    BlobStoreError,
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
FAULTS_MAX = 5  # in a row; what no repetition cures may be cured by taking the partition over anew

log = structlog.get_logger(__name__)


class LaneKeeper(Protocol):
    """Whose outcomes are made durable."""

    lanes: Lanes

    def handle(self, event: Event) -> None:
        """Step the lanes and do what they ask for."""

    def give_up(self, *, fenced: bool = False) -> None:
        """The partition is no longer ours (`fenced`), or what is in memory cannot be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitterParts:
    """What committing one partition needs; `pump` hands out free slots once something is durable."""

    main: TopicPartition
    writer: LogWriter
    member: GroupMember
    records: RecordWriter
    ends: CommittedEnds
    blobs: BlobStore
    gauges: Gauges
    committed: Callable[[WriteBatch], None]
    pump: Callable[[], None]
    interval_seconds: float

    @property
    def partition(self) -> int:
        """The partition's number."""
        return self.main.partition


class Committer:
    """The only user of the partition's writer, which blocks and so has a thread of its own.

    The lanes put what is to be written into `batch`, and after it is staged what is to be committed into `staged`.
    """

    def __init__(self, parts: CommitterParts, keeper: LaneKeeper) -> None:
        self.batch: WriteBatch | None = None
        self.staged: CommitBatch | None = None
        self._parts = parts
        self._keeper = keeper
        self._finishing = asyncio.Event()
        self._claims: Claims = {}
        self._cuts: dict[Origin, Cut] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"writer-{parts.partition}")
        self._task = asyncio.create_task(self._run())

    async def finish(self) -> None:
        """Make everything durable that has happened, then stop."""
        self._finishing.set()
        await self._task

    def cut_off(self) -> None:
        """Stop at once and give the transactional id up."""
        self._task.cancel()
        self._parts.ends.give_up()
        # Another thread: the writer's own may be repeating a commit, and close() is what ends that.
        asyncio.get_running_loop().run_in_executor(None, self._parts.writer.close)
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        while True:
            finishing = self._finishing.is_set()
            try:
                await self._commit()
            except Fenced as error:
                log.warning("partition_fenced", partition=self._parts.partition, reason=str(error))
                self._parts.gauges.transaction("fenced")
                self._keeper.give_up(fenced=True)
                return
            except Exception:  # a fault of ours: the partition is taken over anew from what Kafka knows
                log.exception("committer_fault", partition=self._parts.partition)
                self._keeper.give_up()
                return
            if finishing and not self._keeper.lanes.committing.uncommitted:
                return
            if not finishing:
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._parts.interval_seconds):
                await self._finishing.wait()
        except TimeoutError:
            return

    async def _commit(self) -> None:
        """Cut a batch and see it through. Raises Fenced, and a fault of ours that repetition does not cure.

        While a batch is not through, its outcomes grow old and the lanes start nothing (core.sending.lanes, rule 4): a commit that fails for good
        costs time, and no mail goes out twice for it.
        """
        failures = faults = 0
        while (batch := self._cut()) is not None:
            started = time.monotonic()
            try:
                await self._write(batch)
            except (TransactionAborted, LogUnavailable, BlobStoreError) as error:
                await self._abort(str(error), failures)
                failures += 1
                continue
            except Fenced:
                raise
            except Exception as error:
                faults += 1
                if self.staged is not None or faults >= FAULTS_MAX:
                    raise  # once staged, only a new owner can know whether it was committed
                log.exception("commit_fault", partition=self._parts.partition)
                await self._abort(f"{type(error).__name__}, a fault of ours", faults)
                continue
            self._parts.gauges.committed(batch, time.monotonic() - started)
            self._keeper.handle(Committed())
            self._parts.committed(batch)
            self._parts.pump()
            return

    async def _abort(self, reason: str, failures: int) -> None:
        """Take the batch back and wait a while."""
        self._keeper.handle(Aborted())
        self._parts.gauges.transaction("aborted")
        delay = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
        log.warning("commit_failed", partition=self._parts.partition, reason=reason, retry_in_seconds=delay)
        await asyncio.sleep(delay)

    def _cut(self) -> WriteBatch | None:
        self.batch = self.staged = None
        self._keeper.handle(CutDue())
        return self.batch

    async def _write(self, batch: WriteBatch) -> None:
        loop, writer = asyncio.get_running_loop(), self._parts.writer
        staged, offsets = await self._stage(batch)
        self._keeper.handle(Staged(*staged.split(offsets)))
        assert self.staged is not None
        point = CommitPoint(self.staged.base, encode_pointers(self.staged.pointers))
        points = ((self._parts.main, point),)
        await loop.run_in_executor(self._thread, writer.commit, self._parts.member, points)
        await self._see({record.to: at for record, at in zip(staged.records, offsets, strict=True)}, point)
        self._forget_ended()

    async def _see(self, written: Mapping[TopicPartition, int], point: CommitPoint) -> None:
        """What is committed can be read, and so cannot be undone any more. Raises Fenced, EndUndone."""
        failures = 0
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._parts.ends.see, written, point
                )
            except (TransactionAborted, LogUnavailable) as error:
                log.warning("commit_not_seen", partition=self._parts.partition, reason=str(error))
                await asyncio.sleep(BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)])
                failures += 1
            else:
                return

    async def _stage(self, batch: WriteBatch) -> tuple[StagedRecords, list[int]]:
        """The batch lies in Kafka, uncommitted; what is refused of it has been made smaller."""
        loop, parts = asyncio.get_running_loop(), self._parts
        while True:
            origins = [origin_of(keyed) for keyed in batch.statuses]
            try:
                staged = await loop.run_in_executor(
                    self._thread, parts.records.records, batch, dict(self._claims), dict(self._cuts)
                )
                origins = staged.origins
                return staged, await loop.run_in_executor(self._thread, parts.writer.stage, staged.records)
            except RecordRefused as error:
                parts.gauges.transaction("refused")
                await self._make_smaller(batch, origins[error.index], error)

    async def _make_smaller(self, batch: WriteBatch, origin: Origin, error: RecordRefused) -> None:
        """A record is refused: its bytes go to the blob store, then more and more is left out."""
        cut = self._cuts.get(origin, Cut.NOTHING)
        if cut is Cut.KEY:
            raise TransactionAborted(
                f"offset {origin.offset} is refused however small: {error.reason}"
            ) from error
        self._cuts[origin] = cut = Cut(cut + 1)
        log.warning(
            "record_refused",
            partition=self._parts.partition,
            offset=origin.offset,
            reason=error.reason,
            left_out=cut.name.lower(),
        )
        contents = [copy.content for copy in batch.puts if copy.put.origin == origin]
        contents += [copy.content for copy in batch.dead if copy.dead.origin == origin]
        for content in contents[:1]:
            if content.value and origin not in self._claims:
                self._claims[origin] = await self._parts.blobs.put(content.value)

    def _forget_ended(self) -> None:
        unfinished = self._keeper.lanes.mails
        self._cuts = {origin: cut for origin, cut in self._cuts.items() if origin in unfinished}
        self._claims = {origin: ref for origin, ref in self._claims.items() if origin in unfinished}
