"""Command line of the local stack: `python -m localstack up | down | status | fetch | lock`.

Exit codes: 0 done; 1 it could not be done, with one line that says why; 2 wrong usage; 3 `status` found the stack
not, or not wholly, running.
"""

import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from localstack import artifacts, locking, relay_control, stack
from localstack.artifacts import ArtifactError
from localstack.configuration import configuration_file
from localstack.download import download
from localstack.greenmail import Mailbox
from localstack.ports import PortTakenError
from localstack.server import ServerFault
from localstack.stack_state import RunningServer, StackState, StateFault

NOT_RUNNING = 3
MEBIBYTE = 1024 * 1024

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Kafka, GreenMail and a relay on this machine."
)
console = Console(stderr=True, highlight=False, soft_wrap=True)

Folder = Annotated[Path, typer.Option("--dir", help="Where state, data and logs lie.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Default: the usual one if free, else any.")]
FOLDER = Path(__file__).resolve().parents[2] / ".local"


@app.command()
def up(
    *,
    kafka_port: Port = None,
    smtp_port: Port = None,
    imap_port: Port = None,
    mailbox: Annotated[
        list[str] | None, typer.Option(help="ADDRESS:PASSWORD, may be repeated; replaces the usual three.")
    ] = None,
    folder: Folder = FOLDER,
    as_json: AsJson = False,
) -> None:
    """Start the servers and wait until they answer; nothing if they run already."""
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # so that what was started is stopped
    with _one_line_errors():
        mailboxes = tuple(map(_mailbox, mailbox)) if mailbox else stack.MAILBOXES
        wishes = stack.Wishes(stack.Ports(kafka_port, smtp_port, imap_port), mailboxes=mailboxes)
        download(console)
        began = time.monotonic()
        state, started = stack.up(folder, wishes, console.print)
        seconds = time.monotonic() - began
    console.print(f"up after {seconds:.1f} s" if started else "already up")
    _show(state, folder, as_json=as_json)


@app.command()
def down(*, folder: Folder = FOLDER) -> None:
    """Stop exactly what `up` started."""
    with _one_line_errors():
        stopped = stack.down(folder, console.print)
    console.print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def status(*, folder: Folder = FOLDER, as_json: AsJson = False) -> None:
    """Show where everything is; exit code 3 if it is not, or not wholly, running."""
    with _one_line_errors():
        state = stack.status(folder)
    if state is None:
        console.print("down")
        raise typer.Exit(NOT_RUNNING)
    _show(state, folder, as_json=as_json)
    if not all(server.alive for server in state.servers):
        raise typer.Exit(NOT_RUNNING)


@app.command()
def fetch() -> None:
    """Download what a first start and the tests need, and start nothing."""
    with _one_line_errors():
        download(console, artifacts.read_lock())
    console.print(f"all there, in {artifacts.cache_folder()}")


@app.command()
def lock(
    *, set_version: Annotated[list[str] | None, typer.Option("--set", help="group:artifact=version")] = None
) -> None:
    """Resolve the jars anew and rewrite artifacts.lock, for a change of version."""
    with _one_line_errors():
        changes = dict(change.rpartition("=")[::2] for change in set_version or [])
        for name, bundle in locking.relock(changes).items():
            console.print(f"{name} {bundle.version}: {len(bundle.jars)} jars")


def _mailbox(text: str) -> Mailbox:
    address, _, password = text.partition(":")
    if not password:
        raise typer.BadParameter(f"{text!r}: want ADDRESS:PASSWORD", param_hint="--mailbox")
    return Mailbox(address, password)


def _show(state: StackState, folder: Path, *, as_json: bool) -> None:
    configuration = configuration_file(folder).resolve()
    if as_json:
        alive = {server.name: server.alive for server in state.servers}
        found = {**state.as_json(), "alive": alive, "configuration": str(configuration)}
        print(json.dumps(found, indent=2))
        return
    postlane = shlex.quote(str(Path(sys.executable).with_name("postlane")))
    rows = [*_places(state), *map(_server_row, state.servers)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, note in rows:  # lines as they are: a path or a command that is wrapped cannot be copied
        print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {note}".rstrip())
    print(
        f"\nThe test relay does as it is told; all orders: {relay_control.__file__}\n"
        f"""  curl -X PUT {state.relay.url}/quota -d '{{"mails": 0}}'   # its quota is used up\n"""
        f"""  curl -X PUT {state.relay.url}/recipients -d '{{"recipients": ["*@desk.test"]}}'   # others are refused for good\n"""
        f"""  curl -X PUT {state.relay.url}/recipients -d '{{"recipients": ["*"]}}'             # everybody is served\n"""
        f"  curl -X POST {state.relay.url}/reset                    # quota and faults are gone again\n"
        "Postlane's configuration for these servers, and the first two commands to try with it:\n"
        f"  export POSTLANE_CONFIG={shlex.quote(str(configuration))}\n"
        f"  {postlane} topics apply\n"
        f"  {postlane} doctor"
    )


def _places(state: StackState) -> Iterator[tuple[str, str, str]]:
    relay, mail = state.relay, state.mail
    login = f"login {relay.user} / {relay.password}, no TLS" if relay.user else "no login"
    yield "Kafka", state.kafka_bootstrap, ""
    yield "SMTP relay", f"{relay.host}:{relay.port}", login
    yield "Relay control", relay.url, "GET /state, /mails, /refusals"
    yield "IMAP", f"{mail.host}:{mail.imap_port}", "no TLS"
    yield "SMTP of GreenMail", f"{mail.host}:{mail.smtp_port}", "for mail from outside"
    for mailbox in state.mailboxes:
        yield "Mailbox", mailbox.address, f"password {mailbox.password}"


def _server_row(server: RunningServer) -> tuple[str, str, str]:
    memory = f"{server.memory_bytes / MEBIBYTE:.0f} MiB"
    running = f"pid {server.process.pid}, {memory}" if server.alive else "NOT RUNNING"
    return f"{server.name} process", running, server.log


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (ArtifactError, PortTakenError, ServerFault, StateFault, stack.StackError, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.strerror}: {error.filename}" if error.filename else str(error))


def _fail(message: str) -> NoReturn:
    console.print(message, style="red", markup=False)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
