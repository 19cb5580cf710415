"""Plays the scenes one after the other, and says what was seen."""

import os
import shlex
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.claim import Occupied, claimed, end_holder
from demo.ending import Ending
from demo.scenes import SCENES
from demo.stage import ProcessEnded, Stage, staged
from demo.witness import NotSeen
from localstack.artifacts import ArtifactError
from localstack.download import download
from localstack.ports import PortTakenError
from localstack.relay_client import WaitedInVainError
from localstack.server import ServerFault

STOP_SECONDS_MAX = 10.0
KEEP_POLL_SECONDS = 1.0


def play(folder: Path, ending: Ending, *, keep: bool) -> int:
    """Play all scenes and return the exit code; with `keep`, wait for a signal then."""
    console = Console(soft_wrap=True, highlight=False)  # a command that is wrapped cannot be copied
    try:
        with claimed(folder):
            download(console)
            return 0 if _perform(folder, ending, console, keep=keep) else 1
    except (ArtifactError, NotSeen, Occupied, PortTakenError, ProcessEnded, ServerFault) as error:
        console.print(str(error), style="red", markup=False)
        return 1


def stop(folder: Path) -> int:
    """Stop the demo that runs in the folder, if there is one."""
    holder = end_holder(folder)
    print("no demo was running" if holder is None else f"stopped the demo, process {holder}")
    return 0


def _perform(folder: Path, ending: Ending, console: Console, *, keep: bool) -> bool:
    started = time.monotonic()
    console.print("Starting Kafka, GreenMail, the relay, both services and the ticket desk ...")

    def say(text: str) -> None:
        console.print(f"  {text} ...", style="dim", markup=False)

    with staged(folder, ending, say) as stage:
        console.print(f"up after {time.monotonic() - started:.0f} s\n")
        table, held = _play_scenes(stage, ending, console)
        if not keep:
            ending.defer()
            seconds = stage.stop()
            ok = seconds < STOP_SECONDS_MAX
            held = held and ok
            table.add_row("everything stops on SIGTERM", _mark(ok), f"{seconds:.1f} s")
        console.print(table)
        console.print(f"{'all held' if held else 'NOT all held'}, {time.monotonic() - started:.0f} s in all")
        if keep:
            _say_where(stage, console)
        while keep:  # Ended ends it
            ending.check()
            time.sleep(KEEP_POLL_SECONDS)
    return held


def _play_scenes(stage: Stage, ending: Ending, console: Console) -> tuple[Table, bool]:
    table = Table("step", "held", "time")
    all_held = True
    for scene in SCENES:
        ending.check()
        title = (scene.__doc__ or scene.__name__).strip()
        console.print(f"[bold]{title}[/bold]")
        started = time.monotonic()
        try:
            stage.check_alive()
            seen, held = scene(stage), True
        except (NotSeen, WaitedInVainError) as error:
            seen, held, all_held = str(error), False, False
        console.print(f"  {_mark(held)} {seen}", markup=False)
        table.add_row(scene.__name__.replace("_", " "), _mark(held), f"{time.monotonic() - started:.1f} s")
    return table, all_held


def _mark(held: bool) -> str:
    return "yes" if held else "NO"


def _say_where(stage: Stage, console: Console) -> None:
    stack = stage.stack
    postlane = shlex.join([str(Path(sys.executable).with_name("postlane")), "--config", str(stage.config)])
    console.print(
        f"\nstill running: Kafka {stack.kafka_bootstrap}, IMAP {stack.mail.host}:{stack.mail.imap_port}, "
        f"SMTP {stack.relay.host}:{stack.relay.port}, relay control {stack.relay.url}\n"
        f"try: {postlane} tail mail.outbound.status\n"
        f"logs and configuration: {stage.folder}\n"
        f"Ctrl-C stops all of it; so does `make down` or `kill {os.getpid()}`, from anywhere",
        markup=False,
    )
