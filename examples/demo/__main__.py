"""`python -m demo`: play all scenes; exit status 0 only if every one of them was seen to hold."""

import argparse
import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.scenes import SCENES
from demo.stage import Stage, staged
from demo.witness import NotSeen
from localstack.relay_client import WaitedInVainError

FOLDER = Path(".local/demo")
STOP_SECONDS_MAX = 10.0


def main() -> int:
    """Play the demo as the command line says."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "--keep", action="store_true", help="leave everything running until Ctrl-C, and say where"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where servers keep their data and logs")
    options = parser.parse_args()
    console = Console()
    started = time.monotonic()
    console.print("Starting Kafka, GreenMail, the relay, both services and the ticket desk ...")
    with staged(options.folder.resolve()) as stage:
        console.print(f"up after {time.monotonic() - started:.0f} s\n")
        table, held = _play(stage, console)
        if not options.keep:
            seconds = stage.stop()
            ok = seconds < STOP_SECONDS_MAX
            held = held and ok
            table.add_row(
                "everything stops on SIGTERM", _mark(ok), f"{seconds:.1f} s", "drained and left the groups"
            )
        console.print(table)
        console.print(f"{'all held' if held else 'NOT all held'}, {time.monotonic() - started:.0f} s in all")
        if options.keep:
            _say_where(stage, console)
            _wait_for_interrupt()
    return 0 if held else 1


def _play(stage: Stage, console: Console) -> tuple[Table, bool]:
    table = Table("step", "held", "time", "seen", title="What was seen")
    all_held = True
    for scene in SCENES:
        title = (scene.__doc__ or scene.__name__).strip()
        console.print(f"[bold]{title}[/bold]")
        started = time.monotonic()
        try:
            stage.check_alive()
            seen, held = scene(stage), True
        except (NotSeen, WaitedInVainError) as error:
            seen, held, all_held = str(error), False, False
        console.print(f"  {_mark(held)} {seen}", markup=False, highlight=False)
        table.add_row(
            scene.__name__.replace("_", " "), _mark(held), f"{time.monotonic() - started:.1f} s", seen
        )
    return table, all_held


def _mark(held: bool) -> str:
    return "yes" if held else "NO"


def _say_where(stage: Stage, console: Console) -> None:
    stack = stage.stack
    console.print(
        f"\nstill running: Kafka {stack.kafka_bootstrap}, IMAP {stack.mail.host}:{stack.mail.imap_port}, "
        f"SMTP {stack.relay.host}:{stack.relay.port}, relay control {stack.relay.url}\n"
        f"try: .venv/bin/postlane --config {stage.config} tail mail.outbound.status\n"
        f"logs and configuration: {stage.folder}\n"
        "Ctrl-C stops all of it",
        markup=False,
    )


def _wait_for_interrupt() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    sys.exit(main())
