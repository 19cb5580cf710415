"""One parser process: started when first needed, asked in batches, killed when it does not answer."""

import asyncio
import contextlib
import math
import os
import pickle
import signal
import struct
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec

from postlane.adapters.parser_worker import ANSWERS, LENGTH, READY, Answer, WorkerSettings
from postlane.core.reading.mail_reading import ReadRequest
from postlane.core.reading.parsed_mail import MailReading

START = "from postlane.adapters.parser_worker import main; main()"
START_SECONDS = 30.0  # a busy machine may need that long to import the parser
PIPE_BYTES = 1024 * 1024  # read ahead of an answer
LOOK_SECONDS = 0.5  # a process that was stopped, or whose machine was, finds at most so much of its time gone
MAILS_PER_WORKER = 5000  # then it is renewed, so that nothing that leaks can grow for ever

T = TypeVar("T")


class WorkerFailed(Exception):
    """The worker stumbled or did not answer in time; the text says which."""


class WorkerDied(WorkerFailed):
    """The process ended: by the mail's doing, or by somebody else's, such as the system short of memory."""


GRACE_SECONDS = 2.0  # from the end of its output to the end of a process that dies by itself


class OutOfTime(WorkerFailed):
    """The mail needed more time than any honest one."""


class ParserLink:
    """One process, started again when it ended."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._served = 0

    async def make_ready(self) -> None:
        """Start the process where none runs or the last one is worn, so that no mail has to wait for it; what fails is tried again with the next mail."""
        try:
            await self._running(0)
        except (OSError, EOFError, struct.error):
            await self.stop()
        except BaseException:
            await self.stop()
            raise

    async def ask_one(self, request: ReadRequest, seconds: float) -> MailReading:
        """One request, one reading. Raises WorkerFailed, also where reading it raised."""
        (answer,) = await self.ask([request], seconds)
        if answer.reading is None:
            raise WorkerFailed(answer.error)
        return answer.reading

    async def ask(self, requests: list[ReadRequest], seconds: float) -> list[Answer]:
        """One answer for each request. Raises WorkerFailed; then, and when cancelled, the process is gone."""
        try:
            process = await self._running(len(requests))
            answers = await _within(self._exchange(process, requests), seconds)
        except TimeoutError:
            await self.stop()
            raise OutOfTime(f"no result within {seconds:g} s") from None
        except (EOFError, OSError, struct.error, msgspec.MsgspecError):
            code = await self.stop(grace_seconds=GRACE_SECONDS)
            if code == -signal.SIGVTALRM:
                raise OutOfTime(
                    f"no result within {self._settings.cpu_seconds:g} s of processor time"
                ) from None
            raise WorkerDied(f"the parser process ended ({code})") from None
        except BaseException:
            await self.stop()
            raise
        if any(answer.reading is None for answer in answers):
            await self.stop()  # after a MemoryError or a panic nothing in it can be relied on
        return answers

    async def stop(self, grace_seconds: float = 0.0) -> int | None:
        """Kill the process, after that time for an end of its own; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        if grace_seconds:
            # Popen.send_signal polls, and so may take the exit code away from asyncio, which then says 255.
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(process.wait(), grace_seconds)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()

    async def _running(self, mails: int) -> asyncio.subprocess.Process:
        if self._process is not None and (
            self._process.returncode is not None or self._served >= MAILS_PER_WORKER
        ):
            await self.stop()
        if self._process is None:
            self._process = await self._start()
            self._served = 0
        self._served += mails
        return self._process

    async def _start(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the working directory is no place to import from
            "-c",
            START,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=PIPE_BYTES,
            stderr=asyncio.subprocess.DEVNULL,  # a traceback could quote the mail
            # Nothing else of our environment, which may hold secrets.
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LANG": "C.UTF-8"},
        )
        self._process = process  # so that whatever happens next, `stop` finds it
        async with asyncio.timeout(START_SECONDS):
            await self._send(process, self._settings)
            ready = await self._receive(process)
        if ready != READY:
            raise EOFError
        return process

    async def _exchange(
        self, process: asyncio.subprocess.Process, requests: list[ReadRequest]
    ) -> list[Answer]:
        await self._send(process, requests)
        answers = ANSWERS.decode(await self._receive(process))
        if len(answers) != len(requests):
            raise EOFError
        return answers

    async def _receive(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        return await process.stdout.readexactly(length)

    async def _send(self, process: asyncio.subprocess.Process, message: object) -> None:
        assert process.stdin is not None
        frame = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        process.stdin.write(LENGTH.pack(len(frame)) + frame)
        await process.stdin.drain()


async def _within(awaited: Coroutine[Any, Any, T], seconds: float) -> T:
    """Its result; time in which this process itself stood still is nobody's fault and hardly counts. Raises TimeoutError."""
    task = asyncio.create_task(awaited)
    try:
        for _ in range(math.ceil(seconds / LOOK_SECONDS)):
            await asyncio.wait({task}, timeout=min(seconds, LOOK_SECONDS))
            if task.done():
                return task.result()
        raise TimeoutError
    finally:
        task.cancel()
