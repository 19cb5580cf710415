"""The owner of one partition of the cursor topic: its transactional writer, one transaction at a time, and the cursors it read."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from postlane.core.events.received import MailboxCursor
from postlane.core.reconnect import reconnect_seconds
from postlane.inbound.cursors import CursorReader
from postlane.inbound.watch import KafkaWatch
from postlane.ports import LogUnavailable, LogWriter, NewRecord, RecordRefused, TransactionAborted

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
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"inbound-writer-{partition}")

    async def take_over(self) -> None:
        """Fence the former owner, then read the cursors; waits as long as Kafka is away. Raises Fenced."""
        began = time.monotonic()

        def blocking() -> dict[tuple[str, str], MailboxCursor]:
            self._writer.take_over()
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
            self._writer.stage(records)
            self._writer.commit()
            return time.monotonic() - began

        try:
            seconds = await self._persistently(blocking)
        except RecordRefused:
            raise  # aborted as a whole
        except BaseException:
            self.broken = True
            raise
        self._watch.committed(seconds)

    def drop(self) -> None:
        """Write nothing any more; does not wait."""
        # Another thread: the writer's own may be repeating a commit, and close() is what ends that.
        asyncio.get_running_loop().run_in_executor(None, self._writer.close)
        self._thread.shutdown(wait=False, cancel_futures=True)

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
