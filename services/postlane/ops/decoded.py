"""Any record of our topics as a JSON document and as a line for people."""

from dataclasses import dataclass
from typing import Any, assert_never

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.events.command import Command
from postlane.core.events.feedback import FeedbackKind, MailFeedback
from postlane.core.events.received import MailboxCursor, MailboxReport, MailReceived
from postlane.core.events.relay_lease import RelayLease
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailStatus
from postlane.core.events.trail import BadTrail, Dead, Entry, Put, Resolved, decode
from postlane.core.polling.cursor_keys import is_report
from postlane.core.polling.quarantine import BadQuarantine, Quarantined, decode_quarantine
from postlane.ops.lease_lines import lease_gist
from postlane.ops.output import Json, iso_ms, moment_text, ms_text, plain, shortened
from postlane.ops.topic_names import EventKind, TopicKind
from postlane.ports import LogRecord

Event = (
    MailRequested
    | MailStatus
    | MailReceived
    | MailboxCursor
    | MailboxReport
    | Command
    | RelayLease
    | MailFeedback
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A record with what its value and its headers say; `fault` says why one of them cannot be read."""

    record: LogRecord
    event: Event | None = None
    entry: Entry | None = None
    quarantined: Quarantined | None = None
    fault: str | None = None

    @property
    def key(self) -> str | None:
        """The record's key as text: the ticket id on most topics."""
        return None if self.record.key is None else self.record.key.decode("utf-8", "replace")

    @property
    def state(self) -> str | None:
        """A status's state, a feedback's kind, or what kind of record this is in a journal or dead-letter topic, in lower case."""
        if self.entry is not None:
            return type(self.entry).__name__.lower()
        match self.event:
            case MailStatus():
                return self.event.state.value.lower()
            case MailFeedback():
                return self.event.kind.value.lower()
            case _:
                return None


def decode_record(record: LogRecord, kind: TopicKind, codec: Codec) -> Decoded:
    """Read a record without ever raising: an undecodable one is shown with its fault."""
    entry: Entry | None = None
    event: Event | None = None
    faults: list[str] = []
    if kind.trail:
        try:
            entry = decode(record.headers)
        except (BadTrail, ValueError) as error:
            faults.append(str(error))
    quarantined: Quarantined | None = None
    if kind.quarantine:
        try:
            quarantined = decode_quarantine(record.headers)
        except BadQuarantine as error:
            faults.append(str(error))
    if kind.event is not None and record.value is not None:
        try:
            reported = kind.event is MailboxCursor and is_report(record.key)
            event = _decode(codec, MailboxReport if reported else kind.event, record.value)
        except Undecodable as error:
            faults.append(str(error))
    return Decoded(
        record=record, event=event, entry=entry, quarantined=quarantined, fault="; ".join(faults) or None
    )


def _decode(codec: Codec, kind: EventKind, value: bytes) -> Event:
    decode_any: Any = codec.decode  # its type variable takes one kind at a time, not their union
    event: Event = decode_any(kind, value)
    return event


def as_json(decoded: Decoded) -> Json:
    """The whole record: place, time, key, headers, event. Bytes inside are base64."""
    record = decoded.record
    return {
        "topic": record.at.topic,
        "partition": record.at.partition,
        "offset": record.offset,
        "timestamp": iso_ms(record.timestamp_ms),
        "key": decoded.key,
        "state": decoded.state,
        "headers": {name: value.decode("utf-8", "replace") for name, value in record.headers},
        "size_bytes": len(record.value or b""),
        "event": None if decoded.event is None else plain(decoded.event),
        "quarantined": None if decoded.quarantined is None else plain(decoded.quarantined),
        "fault": decoded.fault,
    }


def as_line(decoded: Decoded) -> str:
    """Time, place, key and the gist."""
    record = decoded.record
    place = f"{record.at.partition}:{record.offset}"
    return f"{ms_text(record.timestamp_ms)}  {place:<12}  {decoded.key or '-':<16}  {_gist(decoded)}"


def _gist(decoded: Decoded) -> str:
    gists = (_entry_gist(decoded.entry), _quarantine_gist(decoded.quarantined), _event_gist(decoded.event))
    parts = [text for text in gists if text]
    if decoded.fault is not None:
        parts.append(f"({decoded.fault})")
    return "  ".join(parts) or ("no value" if decoded.record.value is None else "")


def _entry_gist(entry: Entry | None) -> str:
    match entry:
        case None:
            return ""
        case Put():
            return f"put  attempt {entry.attempt}, due {ms_text(entry.due_ms)}, {entry.cause}: {shortened(entry.reason)}"
        case Dead():
            return f"dead  {entry.cause}: {shortened(entry.reply or entry.reason)}"
        case Resolved():
            return f"{entry.resolution.value} {entry.dead_offset}  {shortened(entry.reason)}".rstrip()
        case _:
            return f"done {entry.origin.offset}"


def _quarantine_gist(entry: Quarantined | None) -> str:
    if entry is None:
        return ""
    return f"UID {entry.uid} of {entry.mailbox}/{entry.folder}  {entry.cause}: {shortened(entry.reason)}"


def _event_gist(event: Event | None) -> str:  # noqa: PLR0911 - one for each kind of event
    match event:
        case None:
            return ""
        case MailRequested():
            return f"{shortened(event.subject)!r} to {', '.join(address.address for address in event.to)}"
        case MailStatus():
            due = "" if event.next_attempt_at is None else f", next {moment_text(event.next_attempt_at)}"
            return (
                f"{event.state.value}  attempt {event.attempt}{due}, {event.cause}: {shortened(event.reason)}"
            )
        case MailReceived() | MailboxCursor() | MailboxReport():
            return _inbound_gist(event)
        case MailFeedback():
            return feedback_words(event)
        case Command():
            return f"{event.wish.value} {_subject(event)}, by {event.issued_by}: {shortened(event.reason)}".rstrip(
                ": "
            )
        case RelayLease():
            return lease_gist(event)


def _inbound_gist(event: MailReceived | MailboxCursor | MailboxReport) -> str:
    match event:
        case MailReceived():
            sender = ", ".join(address.address for address in event.from_addresses) or "?"
            return (
                f"{shortened(event.subject)!r} from {sender} in {event.mailbox}, {event.parse_status.value}"
            )
        case MailboxCursor():
            counts = f"{event.produced} produced, {event.quarantined} quarantined, {event.skipped} skipped"
            return f"{event.mailbox}/{event.folder} up to UID {event.uid}, settled up to {event.settled_uid}, {counts}"
        case MailboxReport():
            trouble = "" if event.error_kind is None else f", {event.error_kind}: {shortened(event.error)}"
            return f"{event.mailbox}/{event.folder} looked through {moment_text(event.checked_at)}, {event.lag} wait{trouble}"
        case _:
            assert_never(event)


def feedback_words(feedback: MailFeedback) -> str:
    """What was reported of whom, and in which words."""
    about = "" if feedback.recipient is None else f" of {feedback.recipient}"
    status = "" if feedback.status is None else f" {feedback.status}"
    permanence = f" ({feedback.permanence.value.lower()})" if feedback.kind is FeedbackKind.BOUNCE else ""
    return f"{feedback.kind.value}{about}{status}{permanence}: {shortened(feedback.diagnostic or feedback.reason)}"


def _subject(command: Command) -> str:
    end = "" if command.expires_at is None else f" until {moment_text(command.expires_at)}"
    if command.relay is not None:
        return f"{command.relay}{end}"
    if command.recipient is not None:
        return f"{command.recipient}{f' ({command.cause})' if command.cause else ''}{end}"
    mail = "" if command.offset is None else f"{command.partition}/{command.offset} "
    return f"{mail}of ticket {command.ticket_id}"
