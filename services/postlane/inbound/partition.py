"""The owner of one partition of the cursor topic: its transactional writer, one transaction at a time, and the cursors it read."""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from postlane.core.events.received import MailboxCursor
from postlane.core.reconnect import reconnect_seconds
from postlane.inbound.cursors import CursorReader
from postlane.inbound.forgotten_ends import ForgottenEnds, marked
from postlane.inbound.unseen import Unseen
from postlane.inbound.watch import KafkaWatch
from postlane.ports import (
    LogUnavailable,
    LogWriter,
    NewRecord,
    RecordRefused,
    TopicPartition,
    TransactionAborted,
)

T = TypeVar("T")

log = structlog.get_logger(__name__)


class PartitionOwner:
    """From take-over until `drop`. Several mailboxes share it; their transactions queue up in its one thread."""

    def __init__(self, partition: int, writer: LogWriter, reader: CursorReader, watch: KafkaWatch) -> None:
        self.partition = partition
        self.cursors: dict[tuple[str, str], MailboxCursor] = {}
        self.broken = False  # what Kafka holds is not known any more: the partition must be taken over anew
        self._writer = writer
        self._reader = reader
        self._watch = watch
        self._ends = ForgottenEnds(reader, partition)
        self._term = secrets.token_hex(4)  # no two owners name their tries alike
        self._tries = 0
        self._failed: dict[str, frozenset[TopicPartition]] = {}
        self.unseen = Unseen(reader.event_log, reader.topics.written_beside_cursors())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"inbound-writer-{partition}")

    async def take_over(self) -> None:
        """Fence the former owner, then read the cursors; waits as long as Kafka is away. Raises Fenced."""
        began = time.monotonic()

        def blocking() -> dict[tuple[str, str], MailboxCursor]:
            self._writer.take_over()
            # Also the other places: what we write there next would decide what became of a former owner's records.
            self._ends.end(self._writer, self._next_try(), self._reader.topics.written_beside_cursors())
            return self._reader.cursors(self.partition)

        self.cursors = await self._persistently(blocking)
        seconds = time.monotonic() - began
        self._watch.recovered(seconds)
        log.info("partition_taken_over", partition=self.partition, seconds=round(seconds, 3))

    async def write(self, records: Sequence[NewRecord]) -> None:
        """One transaction, repeated until it is known to be committed. Raises Fenced, RecordRefused.

        Cancelling the caller does not cut the transaction in two: it goes on in its thread, and whoever comes next finds its outcome in Kafka.
        """

        def blocking() -> float:
            began = time.monotonic()
            self._transact(records)
            return time.monotonic() - began

        try:
            seconds = await self._persistently(blocking)
        except RecordRefused:
            raise  # aborted as a whole
        except BaseException:
            self.broken = True
            raise
        self._watch.committed(seconds)

    async def end_forgotten(self, places: Collection[TopicPartition]) -> None:
        """Make these readable again where a transaction of this partition's owners keeps them from it. Raises Fenced."""

        def blocking() -> None:
            self._ends.end(self._writer, self._next_try(), places)

        await self._persistently(blocking)

    def drop(self) -> None:
        """Write nothing any more; does not wait."""
        # Another thread: the writer's own may be repeating a commit, and close() is what ends that.
        asyncio.get_running_loop().run_in_executor(None, self._writer.close)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _transact(self, records: Sequence[NewRecord]) -> None:
        if self._failed:
            self._undo_failed()
        transaction = self._next_try()
        try:
            self._commit(records, transaction)
        except (LogUnavailable, TransactionAborted, RecordRefused):
            self._failed[transaction] = frozenset(record.to for record in records)
            raise

    def _commit(self, records: Sequence[NewRecord], transaction: str) -> None:
        told = marked(records, self._ends.own, transaction)
        offsets = self._writer.stage(told)
        self._writer.commit()
        self.unseen.add(told, offsets)

    def _undo_failed(self) -> None:
        """Let neither the failed tries be committed with what comes next, nor what was committed before be aborted with them.

        Both would happen where the broker forgot to mark an end: what comes next is marked for it, too.
        """
        places = frozenset().union(*self._failed.values())
        self._ends.end(self._writer, self._next_try(), places, self._failed)
        undone = self.unseen.undone()
        if undone:
            log.warning("committed_records_written_again", partition=self.partition, records=len(undone))
            self._commit(undone, self._next_try())
            self.unseen.restored()
        self._failed.clear()

    def _next_try(self) -> str:
        self._tries += 1
        return f"{self.partition}-{self._term}-{self._tries}"

    async def _persistently(self, call: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                result = await asyncio.get_running_loop().run_in_executor(self._thread, call)
            except (LogUnavailable, TransactionAborted) as error:
                failures += 1
                self._watch.aborted()
                self._watch.away(str(error))
            else:
                self._watch.answers()
                return result
            await asyncio.sleep(reconnect_seconds(failures, random.random()))  # noqa: S311 - spreads retries
