"""Several processes of one service, with small scripts in the service's place."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from postlane.adapters import supervisor
from postlane.adapters.supervisor import Team, run_team

WAIT_SECONDS = (
    100.0  # a condition is waited for; only a test that fails waits so long, however busy the machine
)
# Each start leaves a line: its port and group instance id. The script then does what its one argument says.
SCRIPT = """
import os, sys, time
with open(sys.argv[1], "a") as log:
    log.write(os.environ["POSTLANE_HTTP__PORT"] + " " + os.environ.get("POSTLANE_KAFKA__INSTANCE_ID", "-") + chr(10))
if sys.argv[2] == "serve":
    time.sleep(60)
sys.exit(int(sys.argv[2]))
"""


def team(folder: Path, does: str, processes: int = 2, port: int = 9000, instance: str | None = None) -> Team:
    command = (sys.executable, "-c", SCRIPT, str(folder / "starts"), does)
    return Team(
        name="test",
        command=command,
        processes=processes,
        http_port=port,
        instance_id=instance,
        stop_seconds=1.0,
    )


def starts(folder: Path) -> list[str]:
    path = folder / "starts"
    return sorted(path.read_text().splitlines()) if path.exists() else []


async def until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not seen():  # noqa: ASYNC110 - other processes write what is waited for
            await asyncio.sleep(0.01)


async def test_each_process_has_a_port_and_a_name_of_its_own_and_a_stop_ends_all(tmp_path: Path) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(run_team(team(tmp_path, "serve", 3, instance="pod-0"), stop))
    await until(lambda: len(starts(tmp_path)) == 3)
    stop.set()
    assert await running == 0
    assert starts(tmp_path) == ["9000 pod-0-0", "9001 pod-0-1", "9002 pod-0-2"]


async def test_without_a_configured_name_the_membership_is_not_static(tmp_path: Path) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(run_team(team(tmp_path, "serve", 2, port=0), stop))
    await until(lambda: len(starts(tmp_path)) == 2)
    stop.set()
    assert await running == 0
    assert starts(tmp_path) == ["0 -", "0 -"]


async def test_one_that_dies_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "reconnect_seconds", lambda _failures, _spread: 0.01)
    stop = asyncio.Event()
    running = asyncio.create_task(run_team(team(tmp_path, "1", 1), stop))
    await until(lambda: len(starts(tmp_path)) >= 3)
    stop.set()
    assert await running in {0, 1}


async def test_a_refusal_to_start_ends_all(tmp_path: Path) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        assert await run_team(team(tmp_path, "2"), asyncio.Event()) == 2
    assert set(starts(tmp_path)) <= {"9000 -", "9001 -"}
