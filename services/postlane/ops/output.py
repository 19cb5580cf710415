"""What commands print: data on stdout as tables or JSON, words and progress on stderr."""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from postlane.core.instants import rfc3339

# C0, DEL and C1 drive terminals; separators and the overrides of direction make a line read otherwise than it is.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def has_controls(text: str) -> bool:
    """Whether `visible` would change it."""
    return _CONTROLS.search(text) is not None


def visible(text: str) -> str:
    r"""The same text with control characters written out, such as `\x1b`: ticket ids and replies come from strangers."""
    return _CONTROLS.sub(
        lambda found: f"\\x{ord(found[0]):02x}" if found[0] <= "\xff" else f"\\u{ord(found[0]):04x}", text
    )


def say(message: str) -> None:
    """One line for the person, on stderr."""
    sys.stderr.write(f"{visible(message)}\n")
    sys.stderr.flush()


def print_json(document: object) -> None:
    """One JSON document on one line, flushed, so that a pipe sees it at once."""
    text = json.dumps(document, ensure_ascii=False, default=_json_value)
    # JSON itself leaves DEL and C1 as they are.
    sys.stdout.write(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    sys.stdout.flush()


def plain(event: object) -> Any:
    """An event or another frozen dataclass for JSON; its times stay datetimes, so that `print_json` writes them like all others."""
    return msgspec.to_builtins(event, builtin_types=(datetime,))


def _json_value(value: object) -> str | None:
    return iso(value) if isinstance(value, datetime) else str(value)


def print_line(text: str) -> None:
    """One line of data, flushed."""
    sys.stdout.write(f"{visible(text)}\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for people; cells are plain text, no markup. In a pipe a row is one line, whatever its length."""
    shown = [tuple(map(visible, row)) for row in rows]
    if not sys.stdout.isatty():
        lines = [tuple(columns), *shown]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        for line in lines:
            print_line(
                "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in shown:
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


def span_text(seconds: float) -> str:
    """A span in one unit, such as 90 s, 5 min, 3 h or 2 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def ms_text(timestamp_ms: int) -> str:
    """The same for milliseconds since 1970."""
    return moment_text(datetime.fromtimestamp(timestamp_ms / 1000, UTC))


def iso(at: datetime | None) -> str | None:
    """A time for JSON: ISO 8601 in UTC with milliseconds, such as 2026-11-22T05:10:00.000Z."""
    return None if at is None else rfc3339(at)


def iso_ms(timestamp_ms: int) -> str:
    """The same for milliseconds since 1970."""
    return str(iso(datetime.fromtimestamp(timestamp_ms / 1000, UTC)))


def shortened(text: str, characters_max: int = 100) -> str:
    """One line of text, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= characters_max else f"{line[: characters_max - 1]}…"


def install_words(extra: str) -> str:
    """How to get an extra; from the clone, because an index may give the name to another project."""
    return f"in your clone of Postlane: pip install '.[{extra}]'"


Json = dict[str, Any]
