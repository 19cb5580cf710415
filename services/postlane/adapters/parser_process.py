"""Reading mail in processes that can be killed: whatever a mail does to its parser, it becomes a reading within a bounded time."""

import asyncio
import contextlib
import os
import pickle
import struct
import sys
import time
from dataclasses import dataclass, replace

import structlog

from postlane.adapters.parser_worker import LENGTH, READY, Stumbled, WorkerSettings
from postlane.core.events.received import ParseStatus
from postlane.core.reading.mail_class import ClassRules
from postlane.core.reading.mail_reading import Depth, ReadRequest, unreadable
from postlane.core.reading.parsed_mail import MailReading

START = "from postlane.adapters.parser_worker import main; main()"
START_SECONDS = 30.0  # a busy machine may need that long to import the parser
HEADERS_SECONDS_MAX = 2.0  # the header block alone is at most 1 MiB
ALARM_GRACE_SECONDS = 5.0
MAILS_PER_WORKER = 5000  # then it is renewed, so that nothing that leaks can grow for ever

log = structlog.get_logger(__name__)


class WorkerFailed(Exception):
    """The worker stumbled or did not answer in time; the text says which."""


class WorkerDied(WorkerFailed):
    """The process ended: by the mail's doing, or by somebody else's, such as the system short of memory."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A reading and how long it took."""

    reading: MailReading
    seconds: float


class ParserPool:
    """At most `workers` processes, started when first needed; every call gives a reading, whatever the mail does."""

    def __init__(self, workers: int, seconds_max: float, rules: ClassRules) -> None:
        self._rules = rules
        self._seconds_max = seconds_max
        settings = WorkerSettings(rules, seconds_max + ALARM_GRACE_SECONDS)
        self._all = [_Worker(settings) for _ in range(workers)]
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        for worker in self._all:
            self._idle.put_nowait(worker)

    async def read(self, raw: bytes) -> Timed:
        """Read the whole mail; else its headers; else say that nothing could be read. Never raises for a mail."""
        began = time.monotonic()
        try:
            reading = await self._ask_again(ReadRequest(raw), self._seconds_max)
        except WorkerFailed as error:
            log.warning("mail_parse_failed", reason=str(error), size_bytes=len(raw))
            reading = await self._headers(raw, f"parsing failed: {error}")
        return Timed(reading, time.monotonic() - began)

    async def read_headers(self, head: bytes, why: str) -> MailReading:
        """Read a header block alone, for mail that is not to be read whole."""
        return await self._headers(head, why, failed=False)

    async def close(self) -> None:
        """End the processes."""
        for worker in self._all:
            await worker.stop()

    async def _headers(self, raw: bytes, why: str, *, failed: bool = True) -> MailReading:
        try:
            reading = await self._ask(ReadRequest(raw, Depth.HEADERS, why), HEADERS_SECONDS_MAX)
        except WorkerFailed as error:
            log.warning("mail_headers_failed", reason=str(error), size_bytes=len(raw))
            return unreadable(why, self._rules)
        return _failed(reading) if failed else reading

    async def _ask_again(self, request: ReadRequest, seconds: float) -> MailReading:
        """A mail is to blame for a death only when it happens twice. Raises WorkerFailed."""
        try:
            return await self._ask(request, seconds)
        except WorkerDied:
            return await self._ask(request, seconds)

    async def _ask(self, request: ReadRequest, seconds: float) -> MailReading:
        worker = await self._idle.get()
        try:
            return await worker.ask(request, seconds)
        finally:
            self._idle.put_nowait(worker)


def _failed(reading: MailReading) -> MailReading:
    """What headers could be had of a mail whose parsing failed."""
    return replace(reading, mail=replace(reading.mail, parse_status=ParseStatus.FAILED))


class _Worker:
    """One process, started again when it ended."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._served = 0

    async def ask(self, request: ReadRequest, seconds: float) -> MailReading:
        """One request, one answer. Raises WorkerFailed; then, and when cancelled, the process is gone."""
        try:
            process = await self._running()
            async with asyncio.timeout(seconds):
                answer = await self._exchange(process, request)
        except TimeoutError:
            await self.stop()
            raise WorkerFailed(f"no result within {seconds:g} s") from None
        except (EOFError, OSError, struct.error, pickle.UnpicklingError):
            code = await self.stop()
            raise WorkerDied(f"the parser process ended ({code})") from None
        except BaseException:
            await self.stop()
            raise
        if isinstance(answer, Stumbled):
            await self.stop()  # after a MemoryError or a panic nothing in it can be relied on
            raise WorkerFailed(answer.error)
        assert isinstance(answer, MailReading)
        return answer

    async def stop(self) -> int | None:
        """Kill the process; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is not None and (
            self._process.returncode is not None or self._served >= MAILS_PER_WORKER
        ):
            await self.stop()
        if self._process is None:
            self._process = await self._start()
            self._served = 0
        self._served += 1
        return self._process

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the working directory is no place to import from
            "-c",
            START,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # a traceback could quote the mail
            # Nothing else of our environment, which may hold secrets.
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LANG": "C.UTF-8"},
        )
        self._process = process  # so that whatever happens next, `stop` finds it
        async with asyncio.timeout(START_SECONDS):
            await self._send(process, self._settings)
            ready = await self._receive(process)
        assert ready == READY
        return process

    async def _exchange(self, process: asyncio.subprocess.Process, request: ReadRequest) -> object:
        await self._send(process, request)
        return await self._receive(process)

    async def _receive(self, process: asyncio.subprocess.Process) -> object:
        assert process.stdout is not None
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        return pickle.loads(await process.stdout.readexactly(length))  # noqa: S301 - from our own process

    async def _send(self, process: asyncio.subprocess.Process, message: object) -> None:
        assert process.stdin is not None
        frame = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        process.stdin.write(LENGTH.pack(len(frame)) + frame)
        await process.stdin.drain()
