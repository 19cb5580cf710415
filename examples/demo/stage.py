"""Everything that the demo starts and stops: the stack, the two services, the desk."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from demo.ending import Ending
from demo.witness import DeskBook, NotSeen, Operator, Person, eventually
from localstack.configuration import blob_folder, configuration_file, settings_for, write_configuration
from localstack.greenmail import Mailbox
from localstack.server import Server, run
from localstack.stack import ANY_PORTS, Say, Wishes, running
from localstack.stack_state import StackState

POSTLANE = (sys.executable, "-m", "postlane.ops")
DESK = Path(__file__).resolve().parent.parent / "ticket_desk.py"
SUPPORT = Mailbox("support@desk.test", "support")
ALICE = Mailbox("alice@customer.test", "alice")
GHOST = Mailbox("ghost@gone.test", "ghost")
AGENT_SECONDS = 60.0

RELAY_TAKES = ("*@desk.test", "*@customer.test")

T = TypeVar("T")


class ProcessEnded(Exception):
    """A service or the desk ended by itself; carries the end of its log."""


@dataclass
class Stage:
    """The running demo."""

    folder: Path
    stack: StackState
    say: Say
    processes: dict[str, Server] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The configuration of the services and the desk."""
        return configuration_file(self.folder)

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

    def awaits(self, what: str, look: Callable[[], T | None]) -> T:
        """Say what is awaited, and return it once it is there. Raises NotSeen and ProcessEnded."""
        self.say(f"waiting for {what}")

        def look_at_the_living() -> T | None:
            self.check_alive()
            return look()

        return eventually(what, look_at_the_living)

    def start(self, name: str, *command: str) -> None:
        """Start a process whose output goes to `logs/<name>.log`; like the servers, it ends when we do."""
        self.processes[name] = Server(name, command, self.folder / "logs" / f"{name}.log")

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
        done = run([sys.executable, str(DESK), "--config", str(self.config), *arguments], AGENT_SECONDS)
        if done.returncode != 0:
            raise NotSeen(f"desk {' '.join(arguments)}: {done.stderr.strip()[-500:]}")

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would."""
        self.processes.pop(name).kill()

    def check_alive(self) -> None:
        """Raise ProcessEnded if a process of ours has ended by itself."""
        for process in self.processes.values():
            if not process.running:
                raise ProcessEnded(str(process.fault("has ended")))

    def stop(self) -> float:
        """SIGTERM to all; how many seconds the slowest took."""
        started = time.monotonic()
        for process in self.processes.values():
            process.ask_to_stop()
        for process in self.processes.values():
            process.stop()
        self.processes.clear()
        return time.monotonic() - started


@contextmanager
def staged(folder: Path, ending: Ending, say: Say) -> Iterator[Stage]:
    """Servers, both services and the desk; at the end all of it is stopped, and only logs and configuration stay."""
    _clear(folder)
    shutil.rmtree(folder / "logs", ignore_errors=True)
    wishes = Wishes(
        preferred_ports=ANY_PORTS,  # never in the way of a stack that `make up` started
        mailboxes=(SUPPORT, ALICE, GHOST),
        relay_takes=RELAY_TAKES,
    )
    try:
        with running(folder, wishes, say) as (stack, _):
            settings = settings_for(stack, folder)
            settings["outbound"]["retry_schedule"] = "1s*3, 5s"  # nobody looks on for longer
            settings["relays"]["main"] |= {"hold_seconds": 2, "hold_seconds_max": 3}
            settings["inbound"]["poll_seconds"] = 2
            write_configuration(folder, settings)
            stage = Stage(folder, stack, say)
            try:
                say("making the topics, then starting both services and the desk")
                stage.operator.run("topics", "apply")
                stage.start_service("outbound")
                stage.start_service("inbound")
                stage.start_desk()
                yield stage
            finally:
                ending.defer()
                stage.stop()
    finally:
        _clear(folder)


def _clear(folder: Path) -> None:
    for data in (folder / "kafka", blob_folder(folder)):
        shutil.rmtree(data, ignore_errors=True)
    (folder / "desk.sqlite").unlink(missing_ok=True)
