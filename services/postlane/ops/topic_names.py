"""The topics by the short names that people type, and what their records hold."""

from dataclasses import dataclass

from postlane.core.received import MailboxCursor, MailReceived
from postlane.core.request import MailRequested
from postlane.core.status import MailStatus
from postlane.ops.exits import CommandFailed, Exit

EventKind = type[MailRequested] | type[MailStatus] | type[MailReceived] | type[MailboxCursor]

OUTBOUND = "mail.outbound"
RETRY = "mail.outbound.retry"
STATUS = "mail.outbound.status"
DLQ = "mail.outbound.dlq"
INBOUND = "mail.inbound"
INBOUND_DLQ = "mail.inbound.dlq"
CURSOR = "mail.inbound.cursor"


@dataclass(frozen=True, slots=True)
class TopicKind:
    """A topic's name without prefix, and the event in its values; `trail` = its headers are a journal's or a DLQ's."""

    name: str
    event: EventKind | None
    trail: bool = False


KINDS: dict[str, TopicKind] = {
    "outbound": TopicKind(OUTBOUND, MailRequested),
    "retry": TopicKind(RETRY, MailRequested, trail=True),
    "status": TopicKind(STATUS, MailStatus),
    "dlq": TopicKind(DLQ, MailRequested, trail=True),
    "inbound": TopicKind(INBOUND, MailReceived),
    "inbound-dlq": TopicKind(INBOUND_DLQ, None),
    "cursor": TopicKind(CURSOR, MailboxCursor),
}


def kind_of(topic: str, prefix: str) -> TopicKind:
    """What a short name or a full one (with or without the prefix) means. Raises CommandFailed."""
    by_name = {kind.name: kind for kind in KINDS.values()}
    found = KINDS.get(topic) or by_name.get(topic) or by_name.get(topic.removeprefix(prefix))
    if found is None:
        raise CommandFailed(f"topic {topic!r} is not known; known are {', '.join(KINDS)}", Exit.USAGE)
    return found
