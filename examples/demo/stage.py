"""Everything that the demo starts and stops: the stack, the two services, the desk."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo.witness import DeskBook, NotSeen, Operator, Person
from localstack.greenmail import Mailbox
from localstack.ports import free_ports
from localstack.stack import Wishes, down, up
from localstack.stack_state import StackState

POSTLANE = (sys.executable, "-m", "postlane.ops")
DESK = Path(__file__).resolve().parent.parent / "ticket_desk.py"
SUPPORT = Mailbox("support@desk.test", "support")
ALICE = Mailbox("alice@customer.test", "alice")
GHOST = Mailbox("ghost@gone.test", "ghost")
STOP_SECONDS = 15.0

CONFIG = """\
[kafka]
bootstrap_servers = "{kafka}"

[topics]
partitions = 4
replication_factor = 1
min_insync_replicas = 1

[blobs]
directory = "{folder}/blobs"

[signing]
domain = "desk.test"
keys = {{ k1 = "a demo key, not a secret" }}

[outbound]
retry_schedule = "1s*3, 5s"

[relays.main]
host = "{relay_host}"
port = {relay_port}
tls = "none"
username = "{relay_user}"
password = "{relay_password}"
hold_seconds = 2
hold_seconds_max = 3

[inbound]
poll_seconds = 2

[mailboxes.support]
host = "{imap_host}"
port = {imap_port}
tls = "none"
username = "support@desk.test"
password = "support"
start = "all"

[http]
port = 0
"""


@dataclass
class Stage:
    """The running demo."""

    folder: Path
    stack: StackState
    config: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def alice(self) -> Person:
        """A customer."""
        return Person(ALICE, self.stack.mail, self.stack.relay)

    @property
    def ghost(self) -> Person:
        """A customer whose address does not work at first."""
        return Person(GHOST, self.stack.mail, self.stack.relay)

    @property
    def operator(self) -> Operator:
        """The person who runs Postlane."""
        return Operator((*POSTLANE, "--config", str(self.config)))

    @property
    def desk(self) -> DeskBook:
        """The desk's database."""
        return DeskBook(self.folder / "desk.sqlite")

    def start(self, name: str, *command: str) -> None:
        """Start a process whose output goes to `<name>.log`."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def start_service(self, name: str) -> None:
        """Start `postlane outbound` or `postlane inbound`."""
        self.start(name, *POSTLANE, "--config", str(self.config), name)

    def start_desk(self) -> None:
        """Start the ticket desk."""
        self.start(
            "desk", sys.executable, str(DESK), "--config", str(self.config), "run", str(self.desk.path)
        )

    def agent(self, *arguments: str) -> None:
        """An agent uses the desk's command line."""
        command = [sys.executable, str(DESK), "--config", str(self.config), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise NotSeen(f"desk {' '.join(arguments)}: {done.stderr.strip()[-500:]}")

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def check_alive(self) -> None:
        """Raise NotSeen if a process of ours has ended by itself."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                tail = (self.folder / f"{name}.log").read_text(errors="replace")[-800:]
                raise NotSeen(f"{name} ended with {process.returncode}: {tail}")

    def stop(self) -> float:
        """SIGTERM to all; how many seconds the slowest took."""
        started = time.monotonic()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        return time.monotonic() - started


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """A stack of its own with both services and the desk; all of it is stopped at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.log"), folder / "desk.sqlite"):
        old.unlink(missing_ok=True)
    kafka_port, smtp_port, imap_port = free_ports(3)  # never in the way of a stack that `make up` started
    wishes = Wishes(
        kafka_port=kafka_port,
        smtp_port=smtp_port,
        imap_port=imap_port,
        mailboxes=(SUPPORT, ALICE, GHOST),
        relay_takes=("*@desk.test", "*@customer.test"),
    )
    try:
        down(folder / "stack", lambda _: None)  # a demo that was killed may have left one
        stack, _ = up(folder / "stack", wishes, lambda _: None)
        stage = Stage(folder, stack, _write_config(folder, stack))
        try:
            stage.operator.run("topics", "apply")
            stage.start_service("outbound")
            stage.start_service("inbound")
            stage.start_desk()
            yield stage
        finally:
            stage.stop()
    finally:
        down(folder / "stack", lambda _: None)


def _write_config(folder: Path, stack: StackState) -> Path:
    path = folder / "postlane.toml"
    path.write_text(
        CONFIG.format(
            kafka=stack.kafka_bootstrap,
            folder=folder,
            relay_host=stack.relay.host,
            relay_port=stack.relay.port,
            relay_user=stack.relay.user,
            relay_password=stack.relay.password,
            imap_host=stack.mail.host,
            imap_port=stack.mail.imap_port,
        ),
        encoding="utf-8",
    )
    path.chmod(0o600)
    return path
