"""`python -m localstack`: up, up again, down, and what is left when it is interrupted."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
from confluent_kafka.admin import AdminClient

from localstack import artifacts, guard, stack, stack_state
from localstack.ports import HOST, PortTakenError, choose_port, free_ports
from localstack.server import ProcessId, Server, ServerFault

DEPLOY = Path(guard.__file__).parents[1]
COMMAND_TIMEOUT_SECONDS = 90.0
SLEEPER = [sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(600)"]


def environment() -> dict[str, str]:
    """Neither Java, Maven nor Docker in reach, and nothing in HOME but a link to the downloads."""
    cache = str(artifacts.cache_folder().parent)
    return {
        "PATH": "/nonexistent",
        "HOME": "/nonexistent",
        artifacts.CACHE_VARIABLE: cache,
        "PYTHONPATH": str(DEPLOY),
    }


def begin(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "localstack", *arguments]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def localstack(*arguments: str) -> "subprocess.CompletedProcess[str]":
    with begin(*arguments) as process:
        out, err = process.communicate(timeout=COMMAND_TIMEOUT_SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def folder(tmp_path: Path, java_artifacts: None) -> Iterator[str]:  # noqa: ARG001  # for its download
    """The `--dir` of a stack that is down after the test, however it went."""
    yield str(tmp_path)
    localstack("down", "--dir", str(tmp_path))


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + COMMAND_TIMEOUT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def guards_of(folder: str) -> list[psutil.Process]:
    """The guards that work for this folder: it stands in every command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if guard.__file__ in command and any(folder in argument for argument in command):
                found.append(process)
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def test_two_at_once_start_one_stack_and_down_leaves_nothing(folder: str) -> None:
    kafka_port, smtp_port, imap_port = map(str, free_ports(3))
    wishes = ("--kafka-port", kafka_port, "--smtp-port", smtp_port, "--imap-port", imap_port)
    both = [begin("up", "--dir", folder, "--json", *wishes) for _ in range(2)]
    outputs = [process.communicate(timeout=COMMAND_TIMEOUT_SECONDS) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sorted("already up" in err for _, err in outputs) == [False, True]
    states: list[dict[str, Any]] = [json.loads(out) for out, _ in outputs]
    assert states[0] == states[1]
    assert states[0]["kafka_bootstrap"] == f"{HOST}:{kafka_port}"

    admin = AdminClient({"bootstrap.servers": states[0]["kafka_bootstrap"]})
    assert len(admin.list_topics(timeout=10).brokers) == 1
    again = localstack("up", "--dir", folder, "--json")
    assert json.loads(again.stdout) == states[0]
    assert localstack("status", "--dir", folder).returncode == 0
    other_port = localstack("up", "--dir", folder, "--kafka-port", "1")
    assert other_port.returncode == 1
    assert "take it down first" in other_port.stderr

    state = stack_state.read_state(Path(folder))
    assert state is not None
    down = localstack("down", "--dir", folder)
    assert (down.returncode, down.stderr) == (0, "stopped Kafka, GreenMail, relay\n")
    assert [server.name for server in state.servers if server.process.find() or server.guard.find()] == []
    assert not any(listens(int(port)) for port in (kafka_port, smtp_port, imap_port))
    assert localstack("status", "--dir", folder).returncode == 3
    assert "nothing was running" in localstack("down", "--dir", folder).stderr


def test_a_broken_stack_is_told_and_started_anew(folder: str) -> None:
    assert localstack("up", "--dir", folder).returncode == 0
    before = stack_state.read_state(Path(folder))
    assert before is not None
    broken = before.servers[0].process.find()
    assert broken is not None
    broken.kill()
    psutil.wait_procs([broken], COMMAND_TIMEOUT_SECONDS)

    status = localstack("status", "--dir", folder)
    assert status.returncode == 3
    assert "NOT RUNNING" in status.stdout
    again = localstack("up", "--dir", folder)
    assert again.returncode == 0
    assert "not running any more: Kafka; starting anew" in again.stderr
    assert [server.name for server in before.servers if server.process.find()] == []


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_up_that_is_interrupted_leaves_nothing(folder: str, blow: signal.Signals) -> None:
    with begin("up", "--dir", folder) as process:
        wait_until(lambda: bool(guards_of(folder)) or process.poll() is not None, "no server was started")
        servers = [child for guard in guards_of(folder) for child in guard.children()]
        process.send_signal(blow)
        process.communicate(timeout=COMMAND_TIMEOUT_SECONDS)
    assert process.returncode != 0
    wait_until(lambda: not guards_of(folder), "guards outlived their starter")
    gone, alive = psutil.wait_procs(servers, COMMAND_TIMEOUT_SECONDS)
    assert (len(gone), alive) == (len(servers), [])
    assert stack_state.read_state(Path(folder)) is None


def test_down_never_touches_a_process_that_merely_has_the_number(folder: str) -> None:
    with subprocess.Popen(SLEEPER, stdout=subprocess.PIPE) as stranger:
        stale = {"pid": stranger.pid, "started": 1.0}
        state: dict[str, Any] = {
            "version": stack_state.VERSION,
            "started_at": 0.0,
            "kafka_bootstrap": "127.0.0.1:1",
            "relay": {"port": 1, "control_port": 1, "host": HOST, "user": None, "password": None, "url": ""},
            "mail": {"smtp_port": 1, "imap_port": 1, "api_port": 1, "host": HOST},
            "mailboxes": [],
            "servers": [{"name": "Kafka", "guard": stale, "process": stale, "log": ""}],
        }
        (Path(folder) / stack_state.STATE_FILE).write_text(json.dumps(state))
        assert "nothing was running" in localstack("down", "--dir", folder).stderr
        assert stranger.poll() is None
        stranger.kill()


def test_a_damaged_state_file_is_one_clear_line(folder: str) -> None:
    (Path(folder) / stack_state.STATE_FILE).write_text("{")
    refused = localstack("status", "--dir", folder)
    assert refused.returncode == 1
    assert "is damaged" in refused.stderr
    assert "Traceback" not in refused.stderr
    (Path(folder) / stack_state.STATE_FILE).unlink()


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"port {port} .* --kafka-port"):
            choose_port(port, 9092, "--kafka-port")
        assert choose_port(None, port, "--kafka-port") != port


class Thief:
    """Takes a port once it was chosen: when the stack says that it starts its servers."""

    def __init__(self, port: int) -> None:
        self.heard: list[str] = []
        self._port = port
        self._taken = socket.socket()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._taken.close()

    def say(self, text: str) -> None:
        if not self.heard:
            self._taken.bind((HOST, self._port))
            self._taken.listen()
        self.heard.append(text)


@pytest.mark.parametrize("which", stack.Ports._fields)
def test_a_port_lost_to_another_process_is_replaced_by_another(folder: str, which: str) -> None:
    preferred = stack.Ports(*free_ports(3))
    with Thief(getattr(preferred, which)) as thief:
        state, _ = stack.up(Path(folder), stack.Wishes(preferred_ports=preferred), thief.say)
    assert all(server.alive for server in state.servers)
    in_use = stack.Ports(int(state.kafka_bootstrap.partition(":")[2]), state.relay.port, state.mail.imap_port)
    assert getattr(in_use, which) != getattr(preferred, which)
    assert sum("another process was quicker" in text for text in thief.heard) == 1
    # Here, not by the fixture's process: as long as their parent has not heard of their end, they seem to be there.
    assert sorted(stack.down(Path(folder), thief.say)) == sorted(server.name for server in state.servers)


def test_a_port_that_was_asked_for_and_lost_is_named(folder: str) -> None:
    wishes = stack.Wishes(stack.Ports(smtp=free_ports(1)[0]), preferred_ports=stack.ANY_PORTS)
    with (
        Thief(wishes.ports.smtp or 0) as thief,
        pytest.raises(PortTakenError, match=rf"port {wishes.ports.smtp} .* --smtp-port"),
    ):
        stack.up(Path(folder), wishes, thief.say)
    assert guards_of(folder) == []
    assert stack_state.read_state(Path(folder)) is None


def test_the_same_port_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="a different one for each"):
        stack.Wishes(stack.Ports(5000, 5000))


def test_a_server_dies_with_its_starter(tmp_path: Path) -> None:
    starter = (
        "import sys, time; from pathlib import Path; from localstack.server import Server;"
        f"s = Server('sleeper', {SLEEPER!r}, Path({str(tmp_path / 'log')!r}));"
        f"s.wait_until(lambda: 'awake' in Path({str(tmp_path / 'log')!r}).read_text(), 60);"
        "print(s.process().pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", starter]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": str(DEPLOY)}) as process:
        assert process.stdout is not None
        server = psutil.Process(int(process.stdout.readline()))
        process.kill()
    assert psutil.wait_procs([server], COMMAND_TIMEOUT_SECONDS)[1] == []


def test_a_server_that_ends_at_once_shows_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such configuration')"]
    with (
        Server("broken", command, tmp_path / "broken.log") as server,
        pytest.raises(ServerFault, match="no such configuration"),
    ):
        server.wait_until(lambda: False, COMMAND_TIMEOUT_SECONDS)


def test_a_stubborn_server_is_killed_and_a_crashed_one_noticed(tmp_path: Path) -> None:
    with Server("sleeper", SLEEPER, tmp_path / "log") as server:
        server.wait_until(lambda: "awake" in server.log.read_text(), COMMAND_TIMEOUT_SECONDS)
        process = ProcessId.of(server.process())
        os.kill(process.pid, 0)
        server.kill()
        assert not server.running
        assert process.find() is None


@pytest.mark.usefixtures("java_artifacts")
def test_a_jar_that_was_altered_is_fetched_again_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = artifacts.class_path("kafka")[0]
    monkeypatch.setenv(artifacts.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv(artifacts.REPOSITORY_VARIABLE, f"http://{HOST}:{free_ports(1)[0]}")
    altered = artifacts.cache_folder() / source.name
    altered.write_bytes(source.read_bytes() + b"x")
    with pytest.raises(artifacts.ArtifactError, match=r"cannot download .* Maven mirror"):
        artifacts.class_path("kafka")
    assert not altered.exists()
