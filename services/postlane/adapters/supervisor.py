"""Runs one service in several processes: each has a slot, a dead one is started again after a while, a stop stops all."""

import asyncio
import contextlib
import os
import random
import signal
import time
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from postlane.adapters import logs
from postlane.adapters.process import EXIT_FAILED, EXIT_OK, EXIT_USAGE, STOP_GRACE_SECONDS
from postlane.config.settings import Settings
from postlane.core.reconnect import reconnect_seconds

CALM_SECONDS = 60.0  # a process that ran for so long starts its back-off anew
KILL_AFTER_SECONDS = 2.0  # beyond the time in which a service ends itself

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """What is started: `command` `processes` times. `stop_seconds` is how long a service takes to stop by itself."""

    name: str
    command: Sequence[str]
    processes: int
    http_port: int
    instance_id: str | None
    stop_seconds: float
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def environment_of(self, slot: int) -> dict[str, str]:
        """A port of its own for each (0 stays 0), and a stable group instance id where one is configured (KIP-345)."""
        own = {"POSTLANE_HTTP__PORT": str(self.http_port and self.http_port + slot)}
        if self.instance_id is not None:
            own["POSTLANE_KAFKA__INSTANCE_ID"] = f"{self.instance_id}-{slot}"
        return {**self.environment, **own}


def supervise(settings: Settings, team: Team) -> int:
    """Run the team until SIGTERM or SIGINT; the exit code: 0 after a stop, 2 when the service refuses to start."""
    logs.configure(settings.logs, service=team.name)
    return asyncio.run(_run_until_signal(team))


async def _run_until_signal(team: Team) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await run_team(team, stop)


async def run_team(team: Team, stop: asyncio.Event) -> int:
    """Keep all slots filled until `stop` is set; the exit code."""
    log.info("supervisor_starting", processes=team.processes)
    codes = await asyncio.gather(*(_keep(team, slot, stop) for slot in range(team.processes)))
    log.info("supervisor_stopped")
    return max(codes)


async def _keep(team: Team, slot: int, stop: asyncio.Event) -> int:
    failures = 0
    while not stop.is_set():
        started = time.monotonic()
        # The pipe tells the process when this one is gone, however it ended. In a session of its own it hears of
        # Ctrl-C from here alone: a second signal would end it at once.
        process = await create_subprocess_exec(
            *team.command, env=team.environment_of(slot), stdin=PIPE, start_new_session=True
        )
        code = await _wait(process, stop, team.stop_seconds)
        if stop.is_set():
            return EXIT_OK if code in {EXIT_OK, -signal.SIGTERM, -signal.SIGINT} else EXIT_FAILED
        if code == EXIT_USAGE:  # it has said why; to try again would only say it again
            stop.set()
            return EXIT_USAGE
        failures = failures + 1 if time.monotonic() - started < CALM_SECONDS else 1
        seconds = reconnect_seconds(failures, random.random())  # noqa: S311 - spreads restarts
        log.error("process_died", slot=slot, pid=process.pid, code=code, restart_in_seconds=round(seconds, 1))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
    return EXIT_OK


async def _wait(process: Process, stop: asyncio.Event, stop_seconds: float) -> int:
    """The exit code, once it ends by itself or because all shall stop."""
    ended, stopped = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
    await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not ended.done():
        process.terminate()
        try:
            await asyncio.wait_for(
                asyncio.shield(ended), stop_seconds + STOP_GRACE_SECONDS + KILL_AFTER_SECONDS
            )
        except TimeoutError:
            log.error("process_killed", pid=process.pid, reason="it did not stop in time")
            process.kill()
    return await ended
