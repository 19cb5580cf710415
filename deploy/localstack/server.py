"""One server process under a guard: start, wait until it answers, stop, kill, detach; and short commands under one too."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from localstack import guard

STOP_TIMEOUT_SECONDS = guard.GRACE_SECONDS + 5
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 15
STARTED_TOLERANCE_SECONDS = 1.0
GUARD = (sys.executable, "-I", "-S", guard.__file__)
PORT_TAKEN = "address already in use"  # strerror(EADDRINUSE), which the JVM and asyncio quote alike


class ServerFault(Exception):
    """A server did not start or did not answer; carries the end of its log."""


class PortLostFault(ServerFault):
    """Another process took a port after it was chosen and before the server bound it."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that cannot be mistaken: its id may be given to another one, but not with the same start time."""

    pid: int
    started: float  # seconds after the machine's start: a corrected wall clock does not move it

    @classmethod
    def of(cls, process: psutil.Process) -> "ProcessId":
        return cls(process.pid, process.create_time() - psutil.boot_time())

    def find(self) -> psutil.Process | None:
        """Return the process if it still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(ProcessId.of(process).started - self.started) < STARTED_TOLERANCE_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class Server:
    """A running server and its guard. Leaving the `with` block stops it, unless it was detached."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: dict[str, str] | None = None,
        *,
        ports: Sequence[int] = (),
    ) -> None:
        """`environment` None = ours. `ports` = where it will listen: an answer from another process is not its answer."""
        self.name = name
        self.log = log
        self._ports = frozenset(ports)
        self._detached = False
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        with log.open("wb") as output:
            self._guard = subprocess.Popen(
                [*GUARD, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C at the terminal is for the starter, who then stops us in order
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._detached:
            self.stop()

    @property
    def running(self) -> bool:
        return self._guard.poll() is None

    def guard_process(self) -> psutil.Process:
        return psutil.Process(self._guard.pid)

    def process(self) -> psutil.Process:
        """The server itself, the guard's only child. Raises ServerFault if it has ended."""
        children = self.guard_process().children() if self.running else []
        if not children:
            raise self.fault("has ended")
        return children[0]

    def wait_until(self, answers: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait until the server listens and `answers()` is true. Raises ServerFault when it ends, cannot or time is up."""
        deadline = time.monotonic() + timeout_seconds
        while not (self._listens() and answers()):
            if not self.running:
                raise self.fault("ended while starting")
            if self._lost_a_port():  # GreenMail says so in its log and then hangs
                raise self.fault("could not listen")
            if time.monotonic() > deadline:
                raise self.fault(f"did not answer within {timeout_seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def fault(self, what: str) -> ServerFault:
        tail = "\n".join(self._logged().splitlines()[-LOG_TAIL_LINES:])
        kind = PortLostFault if self._lost_a_port() else ServerFault
        return kind(f"{self.name} {what}; the end of {self.log}:\n{tail}")

    def ask_to_stop(self) -> None:
        """Begin to stop, without waiting: several servers stop side by side."""
        if self.running:
            self._guard.terminate()

    def stop(self) -> None:
        """Stop the server in order, and return when it is gone."""
        self.ask_to_stop()
        self._guard.wait(STOP_TIMEOUT_SECONDS)
        self._close_lifeline()

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        self.process().kill()
        self._guard.wait(STOP_TIMEOUT_SECONDS)
        self._close_lifeline()

    def detach(self) -> None:
        """Let the server outlive us."""
        if self._guard.stdin is not None:
            self._guard.stdin.write(guard.DETACH)
            self._guard.stdin.flush()
        self._close_lifeline()
        self._detached = True

    def _listens(self) -> bool:
        """Whether the server itself holds all its ports."""
        if not self._ports:
            return True
        try:
            sockets = [it for child in self.guard_process().children() for it in child.net_connections("tcp")]
        except psutil.Error:  # it has just ended
            return False
        return self._ports <= {it.laddr.port for it in sockets if it.status == psutil.CONN_LISTEN}

    def _lost_a_port(self) -> bool:
        return bool(self._ports) and PORT_TAKEN in self._logged().lower()

    def _logged(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def _close_lifeline(self) -> None:
        if self._guard.stdin is not None:
            self._guard.stdin.close()


def run(
    command: Sequence[str], timeout_seconds: float, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a short command to its end; it too ends when we do. Raises TimeoutExpired."""
    lifeline, ours = os.pipe()
    with os.fdopen(lifeline), os.fdopen(ours, "wb"):
        return subprocess.run(
            [*GUARD, *command],
            stdin=lifeline,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            env=environment,
            start_new_session=True,
            check=False,
        )
