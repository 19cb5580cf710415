"""What is known of a running stack, as a file: where everything is, and which processes are ours."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localstack.greenmail import Mailbox, MailServer
from localstack.relay_client import RelayControl
from localstack.server import ProcessId

VERSION = 1  # of the file; another one means another release of the stack wrote it
STATE_FILE = "stack.json"
LOCK_FILE = "stack.lock"


class StateFault(Exception):
    """The state file cannot be read; says what to do."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    name: str
    guard: ProcessId
    process: ProcessId
    log: str

    @property
    def alive(self) -> bool:
        return self.process.find() is not None

    @property
    def memory_bytes(self) -> int:
        """Resident memory; 0 when it has ended."""
        process = self.process.find()
        return process.memory_info().rss if process else 0


@dataclass(frozen=True, slots=True)
class StackState:
    started_at: float  # unix seconds
    kafka_bootstrap: str
    relay: RelayControl
    mail: MailServer
    mailboxes: tuple[Mailbox, ...]
    servers: tuple[RunningServer, ...]

    def as_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self), "relay": {**asdict(self.relay), "url": self.relay.url}}


def read_state(folder: Path) -> StackState | None:
    """Return None when nothing was brought up here. Raises StateFault."""
    path = folder / STATE_FILE
    try:
        found = json.loads(path.read_text("utf-8"))
        if found.pop("version") != VERSION:
            raise StateFault(
                f"{path} is of another release; take the stack down with that one, or delete the file"
            )
        return _from_json(found)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateFault(f"{path} is damaged ({error!r}); stop its servers by hand and delete it") from error


def write_state(folder: Path, state: StackState) -> None:
    """It holds the passwords of test mailboxes, so it is the owner's alone."""
    write_private(folder / STATE_FILE, json.dumps(state.as_json(), indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only its owner may read."""
    scratch = path.with_suffix(".tmp")
    scratch.unlink(missing_ok=True)  # one that a crash left may be readable for all
    scratch.touch(mode=0o600)
    scratch.write_text(text, "utf-8")
    scratch.replace(path)


def forget(folder: Path) -> None:
    (folder / STATE_FILE).unlink(missing_ok=True)


@contextmanager
def exclusive(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Let one `up` or `down` at a time work in `folder`; the next one waits."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another up or down is at work here; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _from_json(found: dict[str, Any]) -> StackState:
    found["relay"].pop("url")
    return StackState(
        started_at=found["started_at"],
        kafka_bootstrap=found["kafka_bootstrap"],
        relay=RelayControl(**found["relay"]),
        mail=MailServer(**found["mail"]),
        mailboxes=tuple(Mailbox(**mailbox) for mailbox in found["mailboxes"]),
        servers=tuple(
            RunningServer(item["name"], ProcessId(**item["guard"]), ProcessId(**item["process"]), item["log"])
            for item in found["servers"]
        ),
    )
