"""The owner of one partition of the cursor topic: its transactional writer, one transaction at a time, and the cursors it read."""

import asyncio
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
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
    Fenced,
    LogUnavailable,
    LogWriter,
    NewRecord,
    RecordRefused,
    TopicPartition,
    TransactionAborted,
)

STILL_SECONDS = (
    1.0  # an end is marked within milliseconds; others' transactions, which may stand before it, take longer
)
STUCK_SECONDS = (
    5.0  # so long we wait for others to end theirs: of what is open, a killed owner's successor takes longer
)
LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 0.002, 0.1

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
        self._unseen = Unseen(reader.event_log, reader.topics.written_beside_cursors())
        # Where somebody else hides what is ours, from which offset on.
        self._stuck: dict[TopicPartition, int] = {}
        self._committed, self._seen = 1, 0  # transactions; the first stands for all of the former owners
        self._dropped = threading.Event()
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
        """One transaction, repeated until it is known to be committed, and if possible until it can be read. Raises Fenced, RecordRefused.

        Cancelling the caller does not cut the transaction in two: it goes on in its thread, and whoever comes next finds its outcome in Kafka.
        """

        def blocking() -> float:
            began = time.monotonic()
            self._transact(records)
            return time.monotonic() - began

        try:
            self._watch.committed(await self._persistently(blocking))
            await self.seen()
        except RecordRefused:
            raise  # aborted as a whole
        except BaseException:
            self.broken = True
            raise

    async def seen(self) -> bool:
        """Wait until all that is committed can be read, and end what the broker forgot to; False if others keep it hidden. Raises Fenced.

        Before that a transaction may still be undone, by the abort of a later one (docs/decisions/0024-forgotten-transactions.md).
        """
        return self._seen == self._committed or await self._persistently(self._see)

    def drop(self) -> None:
        """Write nothing any more; does not wait."""
        self._dropped.set()
        # Another thread: the writer's own may be repeating a commit, and close() is what ends that.
        asyncio.get_running_loop().run_in_executor(None, self._writer.close)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _transact(self, records: Sequence[NewRecord]) -> None:
        self._see()  # else this one's abort would be marked for the last one, too
        self._unseen.add(*self._try(records))
        self._committed += 1

    def _try(self, records: Sequence[NewRecord]) -> tuple[list[NewRecord], list[int]]:
        """The records as they were committed, and their offsets."""
        transaction = self._next_try()
        told = marked(records, self._ends.own, transaction)
        try:
            offsets = self._writer.stage(told)
            self._writer.commit()
        except (LogUnavailable, TransactionAborted, RecordRefused):
            self._failed[transaction] = frozenset(record.to for record in records)
            raise
        return told, offsets

    def _undo_failed(self) -> None:
        """Do not let the failed tries be committed with what comes next, as would happen where the broker forgot to mark their ends."""
        self._unseen.in_doubt = True
        places = frozenset().union(*self._failed.values())
        self._ends.end(self._writer, self._next_try(), places, self._failed)
        self._failed.clear()

    def _see(self) -> bool:
        if self._failed:
            self._undo_failed()
        before: dict[TopicPartition, int] | None = None
        since = due = time.monotonic()
        pause = LOOK_SECONDS_MIN
        while hidden := self._unseen.look():
            now = time.monotonic()
            if hidden.items() <= self._stuck.items():
                return False
            if hidden != before:
                before, since, due = hidden, now, now + STILL_SECONDS
            elif now >= due:
                if not self._end_forgotten(hidden) and now - since >= STUCK_SECONDS:
                    return self._give_up(hidden)
                due = time.monotonic() + STILL_SECONDS
            if self._dropped.wait(pause):
                raise Fenced(f"partition {self.partition} was given up")
            pause = min(2 * pause, LOOK_SECONDS_MAX)
        self._stuck = {}
        if self._unseen.in_doubt:
            return self._restore()
        self._seen = self._committed
        return True

    def _give_up(self, hidden: dict[TopicPartition, int]) -> bool:
        """Wait no longer for what others have open there, until they go on."""
        self._stuck = hidden
        log.warning("unreadable_behind_others", partition=self.partition, places=_names(hidden))
        return False

    def _end_forgotten(self, hidden: Iterable[TopicPartition]) -> bool:
        try:
            ended = self._ends.end(self._writer, self._next_try(), [*hidden])
        except (LogUnavailable, TransactionAborted):
            self._unseen.in_doubt = True  # an end that failed is an abort
            raise
        self._unseen.in_doubt |= ended
        return ended

    def _restore(self) -> bool:
        """Write again what the abort of a later transaction has undone."""
        if lost := self._unseen.lost(self._ends.own):
            log.warning("committed_records_written_again", partition=self.partition, records=len(lost))
            self._unseen.settled(*self._try(lost))
        else:
            self._unseen.settled()
        return self._see()

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


def _names(places: Iterable[TopicPartition]) -> list[str]:
    return sorted(f"{at.topic}/{at.partition}" for at in places)
