"""`postlane doctor`: is everything there that the services need, and if not, what to do."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import typer

from postlane.adapters.schema_registry import SchemaRefused
from postlane.core.events.received import MailboxCursor
from postlane.ops import options
from postlane.ops.check_bucket import check_bucket
from postlane.ops.check_kafka import check_kafka, check_schemas, read_cursors
from postlane.ops.check_local import check_blobs, check_configuration
from postlane.ops.check_mail import check_name_servers, check_relay
from postlane.ops.check_mailbox import check_mailbox
from postlane.ops.check_scanner import check_scanner
from postlane.ops.checks import Check, State
from postlane.ops.exits import Exit
from postlane.ops.output import print_json, print_line
from postlane.ops.session import Session, session_of
from postlane.ops.topic_names import CURSOR
from postlane.ports import LogUnavailable

Cursors = dict[tuple[str, str], MailboxCursor]


def doctor(
    context: typer.Context,
    *,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Leave relays, mailboxes, name servers, buckets and scanners alone."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Check configuration, Kafka, topics, schemas, blob store, scanner, relay and mailbox logins.

    Sends nothing, and changes nothing but for two small objects that it writes into a bucket, reads and deletes.
    """
    session = session_of(context)
    checks: list[Check] = []
    for check in _checks(session, offline=offline):
        checks.append(check)
        if not as_json:
            _print(check)
    failed = [check for check in checks if check.state is State.FAIL]
    if as_json:
        found = [
            {"name": c.name, "state": c.state.value, "detail": c.detail, "advice": c.advice} for c in checks
        ]
        print_json({"ok": not failed, "checks": found})
    if any(check.name == "kafka" for check in failed):
        raise typer.Exit(Exit.KAFKA)
    if failed:
        raise typer.Exit(Exit.FAILED)


def _checks(session: Session, *, offline: bool) -> Iterator[Check]:
    settings = session.settings
    yield from check_configuration(settings, session.config_file)
    kafka = check_kafka(settings)
    yield from kafka
    yield from check_schemas(settings)
    if settings.blobs.s3 is None:
        yield check_blobs(settings.blobs.directory)
    if offline:
        return
    if settings.blobs.s3 is not None:
        yield asyncio.run(check_bucket(settings.blobs))
    if scanner := asyncio.run(check_scanner(settings.scan)):
        yield scanner
    for name, relay in settings.relays.items():
        yield asyncio.run(check_relay(name, relay))
    if settings.outbound.check_domains:
        yield asyncio.run(check_name_servers(settings.outbound))
    reached = all(check.state in {State.OK, State.WARN} for check in kafka)
    cursors = _cursors(session) if settings.mailboxes and reached else None
    for name, mailbox in settings.mailboxes.items():
        yield asyncio.run(check_mailbox(name, mailbox, cursors))


def _cursors(session: Session) -> Cursors | None:
    try:
        return read_cursors(session.log, session.codec, session.topic(CURSOR))
    except (LogUnavailable, SchemaRefused):  # said by the checks of Kafka and the schemas
        return None


def _print(check: Check) -> None:
    print_line(f"{check.state.value.upper():<5} {check.name:<18} {check.detail}")
    if check.advice:
        print_line(f"      {'':<18} -> {check.advice}")
