"""A folder's new mail on its way to Kafka: while one chunk is being committed the next is read and the one after it fetched.

Transactions follow each other in the order of UIDs, and each begins when the one before it is known to be durable: so the cursor never passes a mail. Whatever
fails, what lies behind it is dropped and fetched again. Chunks go one at a time while a mail is suspected, and while a folder that was renumbered is compared.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from postlane.core.polling import mailbox as folders
from postlane.core.polling.folder import ListedMail
from postlane.core.polling.mailbox import Chunk, Progress
from postlane.inbound.batches import Batch, Fetched, MailFailed
from postlane.inbound.folder_watch import FolderWatch
from postlane.inbound.room import Room
from postlane.inbound.settling import Settler
from postlane.inbound.taker import Failure, Taker
from postlane.ports import Fenced, LogUnavailable, MailSource, MailSourceError

CHUNKS_AT_ONCE = 3  # one is fetched, one read, one committed
EXPECTED = (MailFailed, MailSourceError, Fenced, LogUnavailable)

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Ride:
    """A fetched chunk: its task ends with the progress behind it."""

    chunk: Chunk
    task: "asyncio.Task[Progress]"
    last_try: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowParts:
    """What a folder's flow works with."""

    taker: Taker
    settler: Settler
    watch: FolderWatch
    room: Room
    list_mails: int


class Flow:
    """One folder's, for one session. `progress` is what Kafka holds, also after a failure."""

    def __init__(self, parts: FlowParts, source: MailSource, progress: Progress, stop: asyncio.Event) -> None:
        self._parts = parts
        self._source = source
        self._stop = stop
        self._rides: deque[_Ride] = deque()
        self.progress = progress

    async def take_all(self) -> Progress:
        """Take chunk after chunk until nothing is listed any more, or the poller is to stop.

        Raises MailSourceError and MailFailed (to be tried again), LogUnavailable, Fenced.
        """
        try:
            await self._feed()
        except Exception:
            await self._let_end()
            raise
        finally:
            await self._drop()
        return self.progress

    async def _feed(self) -> None:
        taker, position = self._parts.taker, self.progress.uid
        while not self._stop.is_set():
            listed = await self._source.list_since(position, self._parts.list_mails)
            await self._tell_lag(position, listed)
            waits = not listed or taker.is_careful or self.progress.is_compared
            while self._rides and (waits or len(self._rides) >= CHUNKS_AT_ONCE):
                await self._land()
            if self._behind(position):
                position = self.progress.uid  # something failed for good: taken one by one from there
                continue
            if self._scan_is_over(listed):
                self.progress = folders.after_rescan(self.progress, datetime.now(UTC))
                await taker.write([], self.progress)
            if not listed:
                return
            position = await self._send(listed)
        while self._rides:
            await self._land()

    def _behind(self, position: int) -> bool:
        """Whether nothing is under way, and yet not everything up to the position has ended."""
        return not self._rides and self.progress.uid < position

    def _scan_is_over(self, listed: Sequence[ListedMail]) -> bool:
        rescan = self.progress.rescan
        return rescan is not None and (not listed or listed[0].uid > rescan.until_uid)

    async def _tell_lag(self, position: int, listed: Sequence[ListedMail]) -> None:
        going = sum(len(ride.chunk.uids) for ride in self._rides)
        if len(listed) < self._parts.list_mails:
            self._parts.watch.behind(going + len(listed))
        else:
            self._parts.watch.behind(going + await self._source.count_above(position))

    async def _send(self, listed: Sequence[ListedMail]) -> int:
        """Fetch the next chunk and put it on its way; the UID up to which mails are on it."""
        taker = self._parts.taker
        chunk = taker.plan(self.progress, listed)
        if chunk.passed_over:
            self.progress = await taker.pass_over(self.progress, chunk)
            return self.progress.uid
        # Everything else is shown to work first; what then fails once more has itself to blame.
        last_try = await taker.is_last_try(self._source, listed)
        batch = taker.batch(self.progress, chunk)
        held = await self._parts.room.take(chunk.held_bytes)
        try:
            fetched = await _ours(taker.fetch(self._source, batch), chunk)
        except (MailSourceError, MailFailed) as error:
            self._parts.room.give_back(held)
            await self._fell(chunk, error, last_try=last_try)
            return chunk.last_uid
        except BaseException:
            self._parts.room.give_back(held)
            raise
        before = self._rides[-1].task if self._rides else None
        task = asyncio.create_task(self._ride(before, chunk, batch, fetched))
        task.add_done_callback(lambda _: self._parts.room.give_back(held))
        self._rides.append(_Ride(chunk, task, last_try))
        return chunk.last_uid

    async def _ride(
        self, before: "asyncio.Task[Progress] | None", chunk: Chunk, batch: Batch, fetched: Fetched
    ) -> Progress:
        taker = self._parts.taker
        prepared = await _ours(taker.prepare(batch, fetched), chunk)
        if before is None:
            return await taker.produce(self.progress, chunk, prepared)
        await asyncio.wait({before})
        return await taker.produce(before.result(), chunk, prepared)

    async def _land(self) -> None:
        """Wait for the oldest ride, then settle what it took. Raises whatever it raised."""
        ride = self._rides[0]
        try:
            progress = await asyncio.shield(ride.task)
        except MailFailed as error:
            await self._drop()
            await self._fell(ride.chunk, error, last_try=ride.last_try)
            return
        self._rides.popleft()
        self.progress = progress
        if not self._parts.settler.refused:  # else the older ones come first, in their own time
            await self._parts.settler.settle(self._source)

    async def _fell(self, chunk: Chunk, error: MailSourceError | MailFailed, *, last_try: bool) -> None:
        """Count it, and give the mail up if it is its turn. Raises the error where it is to be tried again in another session."""
        alone = len(chunk.uids) == 1
        if isinstance(error, MailSourceError):
            await self._let_end()
            if not self._rides:  # else what lies before it has failed, too, and comes first
                self._parts.taker.count(chunk, Failure("fetch", str(error)))
            if not (alone and last_try):
                raise error
        else:
            self._parts.taker.count(chunk, _failure(error))
            if not (alone and (last_try or error.permanent)):
                if error.permanent:
                    return
                raise error
        self.progress = await self._parts.taker.quarantine(self.progress, chunk.last_uid)

    async def _let_end(self) -> None:
        """The session is over, but what was fetched may still become durable; the first that fails ends it."""
        while self._rides:
            ride = self._rides[0]
            await asyncio.wait({ride.task})
            error = ride.task.exception() if not ride.task.cancelled() else None
            if isinstance(error, MailFailed):
                self._parts.taker.count(ride.chunk, _failure(error))
            if ride.task.cancelled() or error is not None:
                return
            self.progress = ride.task.result()
            self._rides.popleft()

    async def _drop(self) -> None:
        """Give up what has not begun to be written; a transaction that has begun ends in its thread."""
        tasks = [ride.task for ride in self._rides]
        self._rides.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _failure(error: MailFailed) -> Failure:
    return Failure(error.cause, error.reason, error.raw, error.ref)


async def _ours(work: Awaitable[T], chunk: Chunk) -> T:
    """A fault of ours that a mail brings to light is that mail's failure: it must not stall its mailbox."""
    try:
        return await work
    except EXPECTED:
        raise
    except Exception as error:
        log.exception("mail_fault", first_uid=chunk.uids[0], last_uid=chunk.last_uid)
        raise MailFailed(chunk.uids[0], "fault", f"a fault of Postlane: {type(error).__name__}") from None
