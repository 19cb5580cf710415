"""CloudEvents 1.0 in Kafka's binary mode: attributes as `ce_*` record headers, the event as the value."""

from datetime import datetime
from typing import assert_never

from postlane.adapters.avro_codec import Event, record_name
from postlane.core.events.command import Command
from postlane.core.events.feedback import MailFeedback
from postlane.core.events.received import MailboxCursor, MailboxReport, MailReceived
from postlane.core.events.relay_lease import RelayLease, lease_id
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailStatus
from postlane.core.events.trail import Headers
from postlane.core.instants import rfc3339

SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/avro"


def cloud_event_headers(event: Event, source: str) -> Headers:
    """The headers of an event's record; `source` is a URI reference that names who wrote it, such as `/postlane/outbound`."""
    identity, happened_at, subject = _attributes(event)
    attributes = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": identity,
        "ce_source": source,
        "ce_type": record_name(type(event)),
        "content-type": CONTENT_TYPE,
    }
    if happened_at is not None:
        attributes["ce_time"] = rfc3339(happened_at)
    if subject:
        attributes["ce_subject"] = subject
    return tuple((name, value.encode("utf-8", "replace")) for name, value in attributes.items())


def _attributes(event: Event) -> tuple[str, datetime | None, str | None]:  # noqa: PLR0911 - one for each kind of event
    match event:
        case MailRequested():
            return event.event_id, event.requested_at, event.ticket_id
        case MailStatus():
            return event.status_id, event.occurred_at, event.ticket_id
        case MailReceived():
            return event.event_id, event.produced_at, event.ticket_id
        case MailboxCursor():
            place = f"{event.mailbox}/{event.folder}"
            return f"{place}/{event.uid_validity}/{event.uid}/{event.settled_uid}", event.updated_at, place
        case MailboxReport():
            place = f"{event.mailbox}/{event.folder}"
            return f"report/{place}/{event.told_at.timestamp():.3f}", event.told_at, place
        case Command():
            return event.command_id, event.issued_at, event.ticket_id or event.relay or event.recipient
        case MailFeedback():
            return event.feedback_id, event.reported_at, event.ticket_id
        case RelayLease():
            return lease_id(event), None, event.relay  # it counts by the brokers' clock alone
        case _:
            assert_never(event)
