"""The demo as a user runs it: every scene holds, and however it ends, nothing of it is left running."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from localstack.configuration import configuration_file
from postlane.config.settings import load_settings

TIMEOUT_SECONDS = 90.0

pytestmark = pytest.mark.usefixtures("java_artifacts")


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "demo", "--folder", str(folder), *arguments]


@pytest.fixture(autouse=True)
def heeded_interrupts() -> Iterator[None]:
    """A shell that runs the tests in the background ignores SIGINT, and children would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def left_over(folder: Path) -> list[psutil.Process]:
    return [
        process for process in psutil.process_iter(["cmdline"]) if str(folder) in str(process.info["cmdline"])
    ]


@contextmanager
def demo_up_to(
    words: str, starter: list[str]
) -> Iterator[tuple["subprocess.Popen[str]", list[psutil.Process]]]:
    """A demo that has said these words, and all processes that it has then."""
    with subprocess.Popen(
        starter,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        limit = threading.Timer(TIMEOUT_SECONDS, demo.kill)
        limit.start()
        assert demo.stdout is not None
        said = next((line for line in demo.stdout if words in line), None)
        assert said is not None, f"the demo never said {words!r}"
        try:
            yield demo, psutil.Process(demo.pid).children(recursive=True)
        finally:
            limit.cancel()
            demo.kill()


def all_gone(processes: list[psutil.Process]) -> bool:
    return psutil.wait_procs(processes, TIMEOUT_SECONDS)[1] == []


@pytest.mark.timeout(400)
def test_the_demo_holds_and_cleans_up(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(command(folder), capture_output=True, text=True, check=False, timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all held" in done.stdout
    assert left_over(folder) == []
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"demo.lock", "logs", "postlane.toml", "signing.key"}
    assert load_settings(configuration_file(folder)).relays.keys() == {"main"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_demo_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with demo_up_to("starting Kafka", command(tmp_path)) as (demo, processes):
        demo.send_signal(number)
        demo.send_signal(number)  # an impatient user, or make and the terminal both
        _, told = demo.communicate(timeout=TIMEOUT_SECONDS)
    assert demo.returncode == 128 + number
    assert len(told.splitlines()) == 1
    assert "stopping everything" in told
    assert processes
    assert not any(process.is_running() for process in processes)
    assert left_over(tmp_path) == []


def test_a_killed_demo_takes_everything_along(tmp_path: Path) -> None:
    with demo_up_to("waiting for the ticket", command(tmp_path)) as (demo, processes):
        assert any("outbound" in process.cmdline() for process in processes)
        demo.kill()
    assert all_gone(processes)
    assert left_over(tmp_path) == []


def test_a_demo_whose_starter_is_killed_ends(tmp_path: Path) -> None:
    starter = [sys.executable, "-c", f"import subprocess; subprocess.run({command(tmp_path)!r})"]
    with demo_up_to("starting Kafka", starter) as (parent, processes):
        parent.kill()
    assert all_gone(processes)
    assert left_over(tmp_path) == []


def test_a_demo_is_found_and_stopped_from_elsewhere(tmp_path: Path) -> None:
    with demo_up_to("starting Kafka", command(tmp_path)) as (demo, processes):
        second = subprocess.run(command(tmp_path), capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"process {demo.pid}" in second.stdout
        stop = subprocess.run(command(tmp_path, "--stop"), capture_output=True, text=True, check=False)
        assert stop.stdout == f"stopped the demo, process {demo.pid}\n"
        demo.communicate(timeout=TIMEOUT_SECONDS)
    assert demo.returncode == 128 + signal.SIGTERM
    assert not any(process.is_running() for process in processes)
    again = subprocess.run(command(tmp_path, "--stop"), capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (0, "no demo was running\n")
