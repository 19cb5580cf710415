"""The scanner within its limits: scripted daemons, real commands."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from fakes.inbound_process import wait_until
from fakes.scripted_clamd import ScriptedClamd, falls_silent, says, scripted_clamd
from postlane.adapters.metrics import Metrics
from postlane.adapters.scan_clamd import Clamd
from postlane.adapters.scan_command import ScanCommand
from postlane.adapters.scanner import Scanner, configured_scanner, engine_of
from postlane.config.scan_section import ScanSection
from postlane.core.events.received import Scan, ScanVerdict
from postlane.core.metrics import INBOUND_METRICS
from postlane.core.virus_scanning import FAILURES_MAX, REST_SECONDS

OK = says(b"stream: OK\0")


class Watched:
    """A scanner with its metrics, on a clock that a test can put forward."""

    def __init__(self, **section: Any) -> None:
        self.metrics = Metrics(INBOUND_METRICS)
        self.ahead_seconds = 0.0
        scanner = configured_scanner(
            ScanSection(**section),
            self.metrics,
            lambda: asyncio.get_running_loop().time() + self.ahead_seconds,
        )
        assert scanner is not None
        self.scanner: Scanner = scanner

    async def scan(self, *contents: bytes) -> list[Scan]:
        return await self.scanner.scan(contents)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"postlane_inbound_{name}", labels)


def verdicts(scans: list[Scan]) -> list[str]:
    return [scan.verdict.value for scan in scans]


async def test_clamd_is_given_the_content_and_its_verdict_is_taken(tmp_path: Path) -> None:
    contents = [b"", b"x", bytes(range(256)) * 1000]
    async with scripted_clamd(tmp_path, says(b"stream: Eicar FOUND\0")) as clamd:
        watched = Watched(clamd=clamd.address)
        scans = await watched.scan(*contents)
    assert scans == [Scan(verdict=ScanVerdict.INFECTED, detail="Eicar", engine="clamd")] * 3
    assert sorted(clamd.contents) == sorted(contents)
    assert watched.sample("scans_total", verdict="INFECTED") == 3


async def test_an_answer_that_comes_before_everything_is_sent_counts(tmp_path: Path) -> None:
    async def answer(_: ScriptedClamd, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1000)
        writer.write(b"INSTREAM size limit exceeded. ERROR\0")
        await writer.drain()

    async with scripted_clamd(tmp_path, answer) as clamd:
        (scan,) = await Watched(clamd=clamd.address).scan(bytes(5_000_000))
    assert (scan.verdict, scan.detail) == (ScanVerdict.SKIPPED, "larger than StreamMaxLength of clamd")


async def test_too_large_a_content_is_not_sent(tmp_path: Path) -> None:
    async with scripted_clamd(tmp_path, OK) as clamd:
        scans = await Watched(clamd=clamd.address, size_bytes_max=10).scan(bytes(10), bytes(11))
    assert verdicts(scans) == ["CLEAN", "SKIPPED"]
    assert scans[1].detail == "larger than 10 bytes"
    assert clamd.contents == [bytes(10)]


async def test_no_more_contents_at_once_than_allowed(tmp_path: Path) -> None:
    async def answer(
        clamd: ScriptedClamd, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await clamd.read(reader)
        for _ in range(20):  # let the others come
            await asyncio.sleep(0)
        writer.write(b"stream: OK\0")

    async with scripted_clamd(tmp_path, answer) as clamd:
        scans = await Watched(clamd=clamd.address, at_once=2).scan(*[b"x"] * 12)
    assert verdicts(scans) == ["CLEAN"] * 12
    assert clamd.at_once == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (says(b""), "it gave no answer"),
        (says(b"HELLO\0"), "it answered 'HELLO', which is no verdict"),
        (says(b"x" * 100_000), "far too long"),
    ],
)
async def test_what_is_no_answer_is_an_error(tmp_path: Path, answer: Any, words: str) -> None:
    async with scripted_clamd(tmp_path, answer) as clamd:
        (scan,) = await Watched(clamd=clamd.address).scan(b"x")
    assert scan.verdict is ScanVerdict.ERROR
    assert words in scan.detail


async def test_a_silent_daemon_delays_a_mail_only_up_to_the_limit_and_is_then_left_alone(
    tmp_path: Path,
) -> None:
    async with scripted_clamd(tmp_path, falls_silent) as clamd:
        watched = Watched(clamd=clamd.address, seconds_max=0.2, at_once=2)
        async with asyncio.timeout(20):  # many times over what is allowed: 7 contents share 0.2 s
            scans = await watched.scan(*[b"x"] * 7)
            assert verdicts(scans) == ["ERROR"] * 7
            await watched.scan(b"y", b"z")
        assert watched.sample("scanner_ok") == 0
        before = clamd.connections
        (scan,) = await watched.scan(b"x")
        assert "left alone" in scan.detail
        assert clamd.connections == before

        clamd.answer = OK
        watched.ahead_seconds = REST_SECONDS + 1
        assert verdicts(await watched.scan(b"x")) == ["CLEAN"]
        assert watched.sample("scanner_ok") == 1
        assert verdicts(await watched.scan(*[b"x"] * 5)) == ["CLEAN"] * 5


async def test_a_daemon_that_is_not_there_is_an_alarm_and_no_obstacle(tmp_path: Path) -> None:
    watched = Watched(clamd=str(tmp_path / "nobody.sock"))
    assert watched.sample("scanner_ok") == 1
    scans = [scan for _ in range(FAILURES_MAX) for scan in await watched.scan(b"x")]
    assert verdicts(scans) == ["ERROR"] * FAILURES_MAX
    assert "reached: No such file or directory at" in scans[0].detail
    assert watched.sample("scanner_ok") == 0
    assert watched.sample("scans_total", verdict="ERROR") == FAILURES_MAX


async def test_a_daemon_by_tcp() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ScriptedClamd("", OK).read(reader)
        writer.write(b"stream: OK\0")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        assert await Clamd(f"127.0.0.1:{port}").examine(b"x") == (ScanVerdict.CLEAN, "")
    finally:
        server.close()


async def test_a_mail_that_is_given_up_takes_its_question_back(tmp_path: Path) -> None:
    async with scripted_clamd(tmp_path, falls_silent) as clamd:
        watched = Watched(clamd=clamd.address, seconds_max=60)
        task = asyncio.create_task(watched.scan(b"x"))
        await wait_until(lambda: clamd.connections == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait_until(lambda: clamd.now == 0)
        clamd.answer = OK
        assert verdicts(await watched.scan(b"x")) == ["CLEAN"]


def script(folder: Path, text: str) -> tuple[str, ...]:
    """A command of its own."""
    path = folder / "scan-it"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{text}\n")
    path.chmod(0o755)
    return (str(path),)


@pytest.mark.parametrize(
    ("text", "verdict", "detail"),
    [
        ("assert sys.stdin.buffer.read() == b'mail' * 100_000", ScanVerdict.CLEAN, ""),
        ("sys.stdin.read(); print('Eicar FOUND'); sys.exit(1)", ScanVerdict.INFECTED, "Eicar FOUND"),
        ("print('no signatures'); sys.exit(2)", ScanVerdict.ERROR, "no signatures"),
        ("sys.exit(0)", ScanVerdict.CLEAN, ""),  # without reading anything
        ("os.kill(os.getpid(), 9)", ScanVerdict.ERROR, "scan-it was ended by signal 9"),
    ],
)
async def test_commands(tmp_path: Path, text: str, verdict: ScanVerdict, detail: str) -> None:
    (scan,) = await Watched(command=script(tmp_path, text)).scan(b"mail" * 100_000)
    assert scan == Scan(verdict=verdict, detail=detail, engine="scan-it")


@pytest.mark.parametrize(
    ("program", "verdict"), [("true", ScanVerdict.CLEAN), ("false", ScanVerdict.INFECTED)]
)
def test_a_command_may_end_unread_on_the_loop_of_the_services_too(program: str, verdict: ScanVerdict) -> None:
    for _ in range(5):
        assert uvloop.run(ScanCommand((program,)).examine(bytes(1_000_000))) == (verdict, "")


async def test_a_fault_of_ours_marks_the_attachment_and_holds_nothing_back() -> None:
    class Broken:
        name = "broken"

        async def examine(self, content: bytes) -> tuple[ScanVerdict, str]:
            raise ZeroDivisionError(len(content))

    metrics = Metrics(INBOUND_METRICS)
    scanner = Scanner(Broken(), ScanSection(), metrics, asyncio.get_running_loop().time)
    assert verdicts(await scanner.scan([b"x"])) == ["ERROR"]


async def test_a_command_that_is_not_there_is_an_error() -> None:
    (scan,) = await Watched(command=("/nowhere/scan-it", "-")).scan(b"x")
    assert (scan.verdict, scan.detail) == (
        ScanVerdict.ERROR,
        "/nowhere/scan-it cannot be started: No such file or directory",
    )


async def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    text = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(600)"
    )
    watched = Watched(command=script(tmp_path, text), seconds_max=3)
    (scan,) = await watched.scan(b"x")
    assert scan.verdict is ScanVerdict.ERROR
    assert "no answer within" in scan.detail
    found = [int(pid) for pid in pids.read_text().split()]
    await wait_until(lambda: not any(alive(pid) for pid in found))


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_command_is_not_told_our_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTLANE_RELAYS__MAIN__PASSWORD", "hidden")
    monkeypatch.setenv("KAFKA_PASSWORD", "hidden")
    monkeypatch.setenv("SCAN_TEST", "shown")
    text = "print(sorted(name for name, value in os.environ.items() if value in ('hidden', 'shown'))); sys.exit(2)"
    (scan,) = await Watched(command=script(tmp_path, text)).scan(b"x")
    assert scan.detail == "['SCAN_TEST']"


def test_without_a_scanner_there_is_none() -> None:
    metrics = Metrics(INBOUND_METRICS)
    assert engine_of(ScanSection()) is None
    assert configured_scanner(ScanSection(), metrics, time.monotonic) is None
    assert isinstance(engine_of(ScanSection(clamd="h:1")), Clamd)
    assert isinstance(engine_of(ScanSection(command=("x",))), ScanCommand)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"clamd": "/run/clamd", "command": ("x",)}, "two scanners"),
        ({"clamd": "clamd"}, "neither the path of a socket"),
        ({"clamd": "h:0"}, "neither the path of a socket"),
        ({"clamd": "h:x"}, "neither the path of a socket"),
        ({"command": ("",)}, "at least 1 character"),
    ],
)
def test_what_cannot_be_is_told(section: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ScanSection(**section)
