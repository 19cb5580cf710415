"""Command line of the local stack: `python -m localstack up | down | status | fetch | lock`.

Exit codes: 0 done; 1 it could not be done, with one line that says why; 2 wrong usage; 3 `status` found the stack
not, or not wholly, running.
"""

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from localstack import artifacts, locking, stack
from localstack.artifacts import ArtifactError
from localstack.download import download
from localstack.greenmail import Mailbox
from localstack.ports import PortTakenError
from localstack.server import ServerFault
from localstack.stack_state import StackState, StateFault

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
        wishes = stack.Wishes(kafka_port, smtp_port, imap_port, mailboxes)
        download(console)
        began = time.monotonic()
        state, started = stack.up(folder, wishes, console.print)
        seconds = time.monotonic() - began
    console.print(f"up after {seconds:.1f} s" if started else "already up")
    _show(state, as_json=as_json)


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
    _show(state, as_json=as_json)
    if not all(server.alive for server in state.servers):
        raise typer.Exit(NOT_RUNNING)


@app.command()
def fetch() -> None:
    """Download what a first start needs, and start nothing."""
    with _one_line_errors():
        download(console)
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


def _show(state: StackState, *, as_json: bool) -> None:
    if as_json:
        alive = {server.name: server.alive for server in state.servers}
        print(json.dumps({**state.as_json(), "alive": alive}, indent=2))
        return
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(overflow="fold")  # a cut-off path is of no use
    relay = state.relay
    login = f"login {relay.user} / {relay.password}, no TLS" if relay.user else "no login"
    table.add_row("Kafka", state.kafka_bootstrap)
    table.add_row("SMTP relay", f"{relay.host}:{relay.port}", login)
    table.add_row("Relay control", relay.url, "GET /state, /mails, /refusals")
    table.add_row("IMAP", f"{state.mail.host}:{state.mail.imap_port}", "no TLS")
    table.add_row(
        "SMTP of GreenMail",
        f"{state.mail.host}:{state.mail.smtp_port}",
        "for mail from outside",
    )
    for mailbox in state.mailboxes:
        table.add_row("Mailbox", mailbox.address, f"password {mailbox.password}")
    for server in state.servers:
        running = (
            f"pid {server.process.pid}, {server.memory_bytes / MEBIBYTE:.0f} MiB"
            if server.alive
            else "NOT RUNNING"
        )
        table.add_row(server.name, running, server.log)
    Console(highlight=False).print(table)


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
