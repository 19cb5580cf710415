"""What commands print: data on stdout as tables or JSON, words and progress on stderr."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


def say(message: str) -> None:
    """One line for the person, on stderr."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def print_json(document: object) -> None:
    """One JSON document on one line, flushed, so that a pipe sees it at once."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=_json_value) + "\n")
    sys.stdout.flush()


def plain(event: object) -> Any:
    """An event or another frozen dataclass for JSON; its times stay datetimes, so that `print_json` writes them like all others."""
    return msgspec.to_builtins(event, builtin_types=(datetime,))


def _json_value(value: object) -> str | None:
    return iso(value) if isinstance(value, datetime) else str(value)


def print_line(text: str) -> None:
    """One line of data, flushed."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for people; cells are plain text, no markup. In a pipe a row is one line, whatever its length."""
    if not sys.stdout.isatty():
        lines = [tuple(columns), *(tuple(row) for row in rows)]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        for line in lines:
            print_line(
                "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table, markup=False)


@contextmanager
def progress(what: str) -> Iterator["Advance"]:
    """A progress bar on stderr, shown only on a terminal; the block is given the function that moves it."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        yield Advance(bar, what)


class Advance:
    """Moves a progress bar: first `expect`, then `step`."""

    def __init__(self, bar: Progress, what: str) -> None:
        self._bar = bar
        self._task = bar.add_task(what, total=None)

    def expect(self, total: int) -> None:
        """So much work lies ahead in all."""
        self._bar.update(self._task, total=total)

    def step(self, count: int) -> None:
        """So much more is done."""
        self._bar.advance(self._task, count)


def moment_text(at: datetime | None) -> str:
    """A time in UTC to the second, or a dash."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def ms_text(timestamp_ms: int) -> str:
    """The same for milliseconds since 1970."""
    return moment_text(datetime.fromtimestamp(timestamp_ms / 1000, UTC))


def iso(at: datetime | None) -> str | None:
    """A time for JSON: ISO 8601 in UTC with milliseconds, such as 2026-11-22T05:10:00.000Z."""
    return (
        None
        if at is None
        else at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    )


def iso_ms(timestamp_ms: int) -> str:
    """The same for milliseconds since 1970."""
    return str(iso(datetime.fromtimestamp(timestamp_ms / 1000, UTC)))


def shortened(text: str, characters_max: int = 100) -> str:
    """One line of text, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= characters_max else f"{line[: characters_max - 1]}…"


Json = dict[str, Any]
