"""`postlane send`: put one mail request into Kafka, from flags or from an .eml file."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import uuid4

import typer

from postlane.adapters.avro_codec import Unencodable
from postlane.adapters.blob_stores import open_blob_store
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.adapters.kafka_produce import produce
from postlane.core.events.request import MailRequested, RequestedAttachment
from postlane.core.events.request_rules import check_request
from postlane.core.partitioner import partition_of
from postlane.ops import options
from postlane.ops.draft import Draft, read_addresses, read_attachment, read_header
from postlane.ops.eml import UnusableMail, request_from_eml
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.output import print_json, print_line
from postlane.ops.session import Session, session_of
from postlane.ops.topic_names import OUTBOUND
from postlane.ports import BlobStore, BlobStoreError, NewRecord, RecordRefused, TopicPartition

INLINE_BYTES_MAX = 256 * 1024  # larger attachments go to the blob store: a record has about 1 MB
SOURCE = "/postlane/ops"
STDIN = "-"

T = TypeVar("T")

Addresses = Annotated[list[str] | None, typer.Option(metavar="ADDRESS")]


def send(  # noqa: PLR0913 - the options of a command
    context: typer.Context,
    *,
    ticket: Annotated[
        str, typer.Option("--ticket", "-t", help="The ticket; mails of one ticket keep their order.")
    ],
    eml: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Take the mail from this file (- = stdin); flags replace parts."),
    ] = None,
    sender: Annotated[str | None, typer.Option("--from", metavar="ADDRESS")] = None,
    to: Addresses = None,
    cc: Addresses = None,
    bcc: Addresses = None,
    reply_to: Addresses = None,
    subject: str = "",
    text: Annotated[str | None, typer.Option(help="The body; - reads it from stdin.")] = None,
    html: Annotated[str | None, typer.Option(help="The HTML body; - reads it from stdin.")] = None,
    attach: Annotated[list[Path] | None, typer.Option(help="A file; may be given several times.")] = None,
    header: Annotated[list[str] | None, typer.Option(metavar="NAME: VALUE")] = None,
    in_reply_to: Annotated[str | None, typer.Option(metavar="MESSAGE-ID")] = None,
    not_before: options.Later = None,
    expires_at: options.Later = None,
    tag: Annotated[list[str] | None, typer.Option(help="For routing; may be given several times.")] = None,
    event_id: Annotated[
        str | None,
        typer.Option(help="Makes the request idempotent: the same id again is not sent. Default: a new one."),
    ] = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Produce a mail request and print its event id. It is refused here when a sender would refuse it."""
    draft = Draft(
        event_id=event_id or str(uuid4()),
        ticket_id=ticket,
        requested_at=datetime.now(UTC),
        from_address=next(iter(read_addresses([sender] if sender else None)), None),
        to=read_addresses(to),
        cc=read_addresses(cc),
        bcc=read_addresses(bcc),
        reply_to=read_addresses(reply_to),
        subject=subject,
        text=_words(text),
        html=_words(html),
        attachments=_usable(lambda: tuple(read_attachment(path) for path in attach or ())),
        headers=_usable(lambda: tuple(read_header(value) for value in header or ())),
        in_reply_to=in_reply_to,
        not_before=not_before,
        expires_at=expires_at,
        tags=tuple(tag or ()),
    )
    request = _checked_request(draft, eml)
    place = "" if dry_run else _produce(session_of(context), request)
    if as_json:
        print_json(
            {"event_id": request.event_id, "ticket_id": ticket, "place": place or None, "dry_run": dry_run}
        )
    else:
        print_line(request.event_id)


def _checked_request(draft: Draft, eml: str | None) -> MailRequested:
    request = _usable(lambda: draft.request() if eml is None else request_from_eml(_read(eml), draft))
    faults = check_request(request)
    if faults:
        raise CommandFailed("the mail cannot be sent: " + "; ".join(faults), Exit.USAGE)
    return request


def _produce(session: Session, request: MailRequested) -> str:
    topic = session.topic(OUTBOUND)
    key = request.ticket_id.encode()
    partition = partition_of(key, session.log.partition_count(topic))
    try:
        claimed = asyncio.run(_claim_check(request, open_blob_store(session.settings.blobs)))
        record = NewRecord(
            to=TopicPartition(topic, partition),
            key=key,
            value=session.codec.encode(claimed),
            headers=cloud_event_headers(claimed, SOURCE),
        )
        return f"{partition}:{produce(session.settings.kafka, record)}"
    except (BlobStoreError, RecordRefused, Unencodable) as error:
        raise CommandFailed(f"the mail was not sent: {error}") from None


async def _claim_check(request: MailRequested, blobs: BlobStore) -> MailRequested:
    """Large attachments become blobs, durable before the event that names them."""

    async def checked(attachment: RequestedAttachment) -> RequestedAttachment:
        if attachment.content is None or len(attachment.content) <= INLINE_BYTES_MAX:
            return attachment
        return replace(attachment, content=None, blob=await blobs.put(attachment.content))

    return replace(request, attachments=tuple([await checked(one) for one in request.attachments]))


def _usable(read: Callable[[], T]) -> T:
    """What was read, or one clear line about the flag or file that cannot be used."""
    try:
        return read()
    except OSError as error:
        raise CommandFailed(f"{error.filename}: {error.strerror}", Exit.USAGE) from None
    except (UnusableMail, ValueError) as error:
        raise CommandFailed(str(error), Exit.USAGE) from None


def _words(value: str | None) -> str | None:
    return sys.stdin.read() if value == STDIN else value


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
