"""Reading mail in processes that can be killed: whatever a mail does to its parser, it becomes a reading within a bounded time."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from postlane.adapters.parser_link import ParserLink, WorkerDied, WorkerFailed
from postlane.adapters.parser_worker import MEMORY_BYTES_MAX, WorkerSettings
from postlane.core.events.received import ParseStatus
from postlane.core.reading.mail_class import ClassRules
from postlane.core.reading.mail_reading import Depth, ReadRequest, unreadable
from postlane.core.reading.mime_parse import HEADER_BLOCK_MAX
from postlane.core.reading.parsed_mail import MailReading

HEADERS_SECONDS_MAX = 2.0  # the header block alone is at most 1 MiB
ALARM_GRACE_SECONDS = 5.0
BATCH_MAILS_MAX = 16  # the first of them waits for the last
BATCH_BYTES_MAX = 512 * 1024  # larger mails travel alone

READY_AT_START = (
    2  # processes; starting one takes longer than reading a hundred mails, and each has about 40 MB
)
WORKERS_MIN, WORKERS_MAX = 2, 8  # where nobody says how many: about 50 MB each
log = structlog.get_logger(__name__)


def fitting_workers() -> int:
    """As many as this process has processors, within reason; two of one let the next mails come while the last ones are read."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(WORKERS_MIN, min(processors, WORKERS_MAX))


@dataclass(frozen=True, slots=True)
class Timed:
    """A reading and how long it took."""

    reading: MailReading
    seconds: float


@dataclass(frozen=True, slots=True)
class _Job:
    """A request that waits for a process, and who waits for the answer."""

    request: ReadRequest
    answer: asyncio.Future[MailReading]


class ParserPool:
    """At most `workers` processes, started when first needed or by `warm_up`; every call gives a reading, whatever the mail does.

    Calls that wait at the same time travel in one frame: a process costs more for the way than for an ordinary mail.
    """

    def __init__(
        self, workers: int, seconds_max: float, rules: ClassRules, memory_bytes: int = MEMORY_BYTES_MAX
    ) -> None:
        self._rules = rules
        self._seconds_max = seconds_max
        settings = WorkerSettings(rules, seconds_max + ALARM_GRACE_SECONDS, memory_bytes=memory_bytes)
        self._all = [ParserLink(settings) for _ in range(workers)]
        self._idle = list(self._all)
        self._waiting: deque[_Job] = deque()
        self._serving: set[asyncio.Task[None]] = set()
        self._wake_set = False

    def warm_up(self) -> None:
        """Start the first processes now, behind the scenes, so that the first mail does not have to wait for them."""
        for _ in range(min(READY_AT_START, len(self._idle))):
            self._go(self._serve(self._idle.pop(), []))

    async def read(self, raw: bytes) -> Timed:
        """Read the whole mail; else its headers; else say that nothing could be read. Never raises for a mail."""
        began = time.monotonic()
        reading = await self._asked(ReadRequest(raw))
        return Timed(reading, time.monotonic() - began)

    async def read_all(self, raws: Sequence[bytes]) -> list[Timed]:
        """The same for many, in their order."""
        began = time.monotonic()
        jobs = [self._queued(ReadRequest(raw)) for raw in raws]
        try:
            return [Timed(await job.answer, time.monotonic() - began) for job in jobs]
        finally:
            for job in jobs:
                job.answer.cancel()  # does nothing to an answer that was given

    async def read_headers(self, head: bytes, why: str) -> MailReading:
        """Read a header block alone, for mail that is not to be read whole."""
        return await self._asked(ReadRequest(head, Depth.HEADERS, why))

    async def close(self) -> None:
        """End the processes; who still waits is cancelled."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        for job in self._waiting:
            job.answer.cancel()
        for worker in self._all:
            await worker.stop()

    async def _asked(self, request: ReadRequest) -> MailReading:
        return await self._queued(request).answer

    def _queued(self, request: ReadRequest) -> _Job:
        job = _Job(request, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._wake()
        return job

    def _wake(self) -> None:
        """Hand out work once all calls of this turn of the event loop have been made."""
        if not self._wake_set:
            self._wake_set = True
            asyncio.get_running_loop().call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._wake_set = False
        while self._idle and (batch := self._next_batch()):
            self._go(self._serve(self._idle.pop(), batch))

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    def _next_batch(self) -> list[_Job]:
        """A fair share of those that wait: with two idle processes, half of them."""
        share = -(-len(self._waiting) // max(len(self._idle), 1))
        batch: list[_Job] = []
        size = 0
        while self._waiting and len(batch) < min(share, BATCH_MAILS_MAX):
            size += len(self._waiting[0].request.raw)
            if batch and size > BATCH_BYTES_MAX:
                break
            job = self._waiting.popleft()
            if not job.answer.done():  # its caller has been cancelled
                batch.append(job)
        return batch

    async def _serve(self, worker: ParserLink, batch: list[_Job]) -> None:
        try:
            answers = await self._answers(worker, batch)
            for job, answer in zip(batch, answers, strict=True):
                if not job.answer.done():
                    job.answer.set_result(answer)
            await worker.make_ready()
        finally:
            for job in batch:
                job.answer.cancel()  # does nothing to an answer that was given
            self._idle.append(worker)
            self._wake()

    async def _answers(self, worker: ParserLink, batch: list[_Job]) -> list[MailReading]:
        if len(batch) > 1:
            try:
                found = await worker.ask([job.request for job in batch], self._seconds_max)
            except WorkerFailed:
                pass  # which of them is to blame shows when each is read alone
            else:
                return [
                    answer.reading
                    if answer.reading is not None
                    else await self._headers(worker, job.request.raw, f"parsing failed: {answer.error}")
                    for job, answer in zip(batch, found, strict=True)
                ]
        return [await self._answer_alone(worker, job.request) for job in batch]

    async def _answer_alone(self, worker: ParserLink, request: ReadRequest) -> MailReading:
        if request.depth is Depth.HEADERS:
            return await self._headers(worker, request.raw, request.why, failed=False)
        try:
            return await self._ask_again(worker, request)
        except WorkerFailed as error:
            log.warning("mail_parse_failed", reason=str(error), size_bytes=len(request.raw))
            return await self._headers(worker, request.raw, f"parsing failed: {error}")

    async def _ask_again(self, worker: ParserLink, request: ReadRequest) -> MailReading:
        """A mail is to blame for a death only when it happens twice. Raises WorkerFailed."""
        try:
            return await worker.ask_one(request, self._seconds_max)
        except WorkerDied:
            return await worker.ask_one(request, self._seconds_max)

    async def _headers(self, worker: ParserLink, raw: bytes, why: str, *, failed: bool = True) -> MailReading:
        head = raw[:HEADER_BLOCK_MAX]
        try:
            reading = await worker.ask_one(ReadRequest(head, Depth.HEADERS, why), HEADERS_SECONDS_MAX)
        except WorkerFailed as error:
            log.warning("mail_headers_failed", reason=str(error), size_bytes=len(raw))
            return unreadable(why, self._rules)
        return _failed(reading) if failed else reading


def _failed(reading: MailReading) -> MailReading:
    """What headers could be had of a mail whose parsing failed."""
    return replace(reading, mail=replace(reading.mail, parse_status=ParseStatus.FAILED))
