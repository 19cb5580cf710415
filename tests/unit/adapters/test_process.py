"""A service process from start to end: signals, drain, refusals, faults. Each runs as a process of its own."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from postlane.core.clock_steps import SET_BACK_SECONDS_MAX, ClockSteps

PRELUDE = """
import asyncio, sys, threading, time
from postlane.adapters.process import CannotStart, run_service
from postlane.config.settings import Settings
settings = Settings(
    http={"port": 0}, logs={"format": "json"}, outbound={"drain_seconds": 0.2}
)
"""


def _start(body: str, name: str = "outbound") -> subprocess.Popen[str]:
    code = PRELUDE + textwrap.dedent(body) + f"\nsys.exit(run_service('{name}', service, settings))\n"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[3] / "services")},
    )


def _wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


WAITS_FOR_STOP = """
async def service(settings, runtime):
    print("ready", flush=True)
    await runtime.stop.wait()
    print("drained", flush=True)
"""


def test_sigterm_lets_the_service_drain_and_ends_with_zero() -> None:
    with _start(WAITS_FOR_STOP) as process:
        _wait_until_ready(process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert out == "drained\n"
    assert '"signal": "SIGTERM"' in err
    assert "service_stopped" in err


def test_a_second_signal_ends_at_once() -> None:
    body = """
    async def service(settings, runtime):
        print("ready", flush=True)
        await runtime.stop.wait()
        print("ready", flush=True)
        await asyncio.sleep(600)
    """
    with _start(body) as process:
        _wait_until_ready(process)
        process.send_signal(signal.SIGINT)
        _wait_until_ready(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert "stopping_at_once" in err


@pytest.mark.parametrize(("name", "other"), [("outbound", "inbound"), ("inbound", "outbound")])
def test_a_drain_that_hangs_in_a_thread_is_cut_off(name: str, other: str) -> None:
    body = f"""
    settings = Settings(
        http={{"port": 0}},
        logs={{"format": "json"}},
        {name}={{"drain_seconds": 0.2}},
        {other}={{"drain_seconds": 60}},
    )
    async def service(settings, runtime):
        print("ready", flush=True)
        await runtime.stop.wait()
        await asyncio.to_thread(time.sleep, 600)
    """
    with _start(body, name) as process:
        _wait_until_ready(process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "stop_overdue" in err


def test_a_service_that_still_asks_for_its_topics_stops_without_an_answer() -> None:
    body = """
    import socket
    from postlane.adapters.start_gate import await_topics
    silent = socket.create_server(("127.0.0.1", 0))
    settings = Settings(
        http={"port": 0},
        logs={"format": "json"},
        kafka={"bootstrap_servers": f"127.0.0.1:{silent.getsockname()[1]}"},
        outbound={"drain_seconds": 0.2},
    )
    async def service(settings, runtime):
        asking = asyncio.create_task(await_topics(settings, ("mail.outbound",), runtime))
        (await asyncio.to_thread(silent.accept))
        print("ready", flush=True)
        assert not await asking
    """
    with _start(body) as process:
        _wait_until_ready(process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "stop_overdue" not in err


def test_a_refusal_to_start_is_one_line_per_fault_and_exit_two() -> None:
    body = """
    async def service(settings, runtime):
        raise CannotStart("topic mail.outbound is missing; run `postlane topics apply`\\nsecond fault")
    """
    with _start(body) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "run `postlane topics apply`" in err
    assert err.count('"event": "cannot_start"') == 2
    assert "Traceback" not in err


def test_a_fault_is_logged_with_its_traceback_and_exit_one() -> None:
    body = """
    async def service(settings, runtime):
        raise RuntimeError("broken invariant")
    """
    with _start(body) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "broken invariant" in err
    assert "Traceback" in err


def test_a_taken_http_port_is_a_clear_refusal() -> None:
    body = """
    import socket
    taken = socket.create_server(("127.0.0.1", 0))
    settings = Settings(http={"port": taken.getsockname()[1]}, logs={"format": "json"})
    async def service(settings, runtime):
        pass
    """
    with _start(body) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "[http] 127.0.0.1:" in err
    assert "Address already in use; two services on one host need two ports" in err
    assert "http.port (POSTLANE_HTTP__PORT)" in err


def test_a_clock_that_is_set_back_ends_the_process_for_a_new_one() -> None:
    body = """
    set_back = 0.0

    async def service(settings, runtime):
        global set_back
        await asyncio.sleep(0)
        set_back = 7200.0
        print("ready", flush=True)
        await runtime.stop.wait()
        print("drained", flush=True)

    run = run_service

    def run_service(name, service, settings):
        return run(name, service, settings, wall=lambda: time.time() - set_back)
    """
    with _start(body) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    assert out == "ready\ndrained\n"
    assert "this machine's clock was set back by 7200 s" in err
    assert "Traceback" not in err


def test_a_clock_that_is_set_forward_or_back_a_little_changes_nothing() -> None:
    steps = ClockSteps(1000.0, 5.0)
    assert steps.set_back_seconds(1000.0 + 7200.0 + 1.0, 6.0) == 0.0
    assert steps.set_back_seconds(8202.0 - 2.0, 7.0) == 2.0 <= SET_BACK_SECONDS_MAX
    assert steps.set_back_seconds(8201.0, 8.0) == 0.0
