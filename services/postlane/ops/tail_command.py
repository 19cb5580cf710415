"""`postlane tail`: what stands in a topic, decoded."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Annotated

import typer

from postlane.adapters.kafka_stream import stream_records
from postlane.core.events.command import Command
from postlane.core.partitioner import partition_of
from postlane.ops import options
from postlane.ops.decoded import Decoded, as_json, as_line, decode_record
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.output import print_json, print_line
from postlane.ops.scanning import bounds_of, partitions_of, scan_back
from postlane.ops.session import Session, session_of
from postlane.ops.topic_names import KINDS, TopicKind, kind_of
from postlane.ports import Bounds, LogRecord, TopicPartition

LAST_RECORDS = 10

Match = Callable[[LogRecord], Decoded | None]


def tail(  # noqa: PLR0913 - the options of a command
    context: typer.Context,
    *,
    topic: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}, or that topic's full name.")],
    ticket: Annotated[
        str | None, typer.Option("--ticket", "-t", help="Only records of this ticket (key).")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", "-s", help="Only these: sent, deferred, failed, ...; put, done, dead, resolved."
        ),
    ] = None,
    since: options.Since = None,
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, help="Without --since: so many last ones.")
    ] = LAST_RECORDS,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")
    ] = False,
    as_json_lines: options.Json = False,
) -> None:
    """Print a topic's records, decoded: the last ones, or all since a time; with --follow also what comes."""
    session = session_of(context)
    kind = kind_of(topic, session.settings.kafka.topic_prefix)
    match = _matcher(session, kind, ticket, frozenset(name.lower() for name in state or ()))
    bounds = bounds_of(session.log, _places(session, kind, ticket))
    records = (
        _newest(session, bounds, match, last, follow=follow)
        if since is None
        else _streamed(session, _offsets_at(session, bounds, since), match, follow=follow)
    )
    count = 0
    try:
        for count, decoded in enumerate(records, start=1):  # noqa: B007 - the count is the last one's
            if as_json_lines:
                print_json(as_json(decoded))
            else:
                print_line(as_line(decoded))
    except KeyboardInterrupt:
        if not follow:
            raise
    if not count and not follow:
        raise CommandFailed(f"no record of {session.topic(kind.name)} matches", Exit.NOT_FOUND)


def _matcher(session: Session, kind: TopicKind, ticket: str | None, states: frozenset[str]) -> Match:
    key = None if ticket is None else ticket.encode()

    def match(record: LogRecord) -> Decoded | None:
        if key is not None and record.key != key and kind.event is not Command:
            return None
        decoded = decode_record(record, kind, session.codec)
        if isinstance(decoded.event, Command) and ticket not in {None, decoded.event.ticket_id}:
            return None  # a command's key is what it replaces
        return decoded if not states or decoded.state in states else None

    return match


def _places(session: Session, kind: TopicKind, ticket: str | None) -> list[TopicPartition]:
    places = partitions_of(session.log, session.topic(kind.name))
    return places if ticket is None else [places[partition_of(ticket.encode(), len(places))]]


def _offsets_at(
    session: Session, bounds: Mapping[TopicPartition, Bounds], since: datetime
) -> dict[TopicPartition, int]:
    since_ms = round(since.timestamp() * 1000)
    return {at: session.log.offset_at(at, since_ms) for at in bounds}


def _newest(
    session: Session, bounds: Mapping[TopicPartition, Bounds], match: Match, last: int, *, follow: bool
) -> Iterator[Decoded]:
    """The last ones in the order of time, then what comes."""
    found, _ = scan_back(session.log, bounds, match, lambda found: len(found) >= last)
    in_time = sorted(found, key=lambda it: (it.record.timestamp_ms, it.record.at.partition, it.record.offset))
    yield from in_time[len(in_time) - last :] if last else ()
    if follow:
        yield from _streamed(session, {at: span.end for at, span in bounds.items()}, match, follow=True)


def _streamed(
    session: Session, starts: Mapping[TopicPartition, int], match: Match, *, follow: bool
) -> Iterator[Decoded]:
    for batch in stream_records(session.settings.kafka, starts, follow=follow):
        yield from (found for record in batch if (found := match(record)) is not None)
