"""Options that several commands share, and their readers."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from postlane.ops.moments import read_future, read_past

Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def _past(text: str) -> datetime:
    return _read(read_past, text)


def future(text: str) -> datetime:
    return _read(read_future, text)


def not_past(at: datetime | None) -> datetime | None:
    """For times that only make sense ahead of us."""
    if at is not None and at <= datetime.now(UTC):
        raise typer.BadParameter("it lies in the past")
    return at


def _read(reader: Callable[[str, datetime], datetime], text: str) -> datetime:
    try:
        return reader(text, datetime.now(UTC))
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(str(error)) from None


Since = Annotated[
    datetime | None,
    typer.Option("--since", parser=_past, metavar="WHEN", help="An age (15m, 2h, 3d) or a time (ISO 8601)."),
]
Until = Annotated[
    datetime | None,
    typer.Option("--until", parser=_past, metavar="WHEN", help="Before this age or time."),
]
Later = Annotated[
    datetime | None,
    typer.Option(parser=future, metavar="WHEN", help="A span from now (2h) or a time (ISO 8601)."),
]
