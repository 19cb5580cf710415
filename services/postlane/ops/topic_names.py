"""The topics by the short names that people type, and what their records hold."""

from dataclasses import dataclass

from postlane.core.events.command import Command
from postlane.core.events.feedback import MailFeedback
from postlane.core.events.received import MailboxCursor, MailboxReport, MailReceived
from postlane.core.events.relay_lease import RelayLease
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailStatus
from postlane.ops.exits import CommandFailed, Exit

EventKind = (
    type[MailRequested]
    | type[MailStatus]
    | type[MailReceived]
    | type[MailboxCursor]
    | type[MailboxReport]
    | type[Command]
    | type[RelayLease]
    | type[MailFeedback]
)

OUTBOUND = "mail.outbound"
RETRY = "mail.outbound.retry"
STATUS = "mail.outbound.status"
DLQ = "mail.outbound.dlq"
FEEDBACK = "mail.outbound.feedback"
INBOUND = "mail.inbound"
INBOUND_DLQ = "mail.inbound.dlq"
CURSOR = "mail.inbound.cursor"
CONTROL = "mail.control"
RELAYS = "mail.relays"


@dataclass(frozen=True, slots=True)
class TopicKind:
    """A topic's name without prefix, and the event in its values.

    `trail`: its headers are a journal's or a DLQ's; `quarantine`: they say why a received mail could not be taken.
    """

    name: str
    event: EventKind | None
    trail: bool = False
    quarantine: bool = False


KINDS: dict[str, TopicKind] = {
    "outbound": TopicKind(OUTBOUND, MailRequested),
    "retry": TopicKind(RETRY, MailRequested, trail=True),
    "status": TopicKind(STATUS, MailStatus),
    "feedback": TopicKind(FEEDBACK, MailFeedback),
    "dlq": TopicKind(DLQ, MailRequested, trail=True),
    "inbound": TopicKind(INBOUND, MailReceived),
    "inbound-dlq": TopicKind(INBOUND_DLQ, None, quarantine=True),
    "cursor": TopicKind(CURSOR, MailboxCursor),
    "control": TopicKind(CONTROL, Command),
    "relays": TopicKind(RELAYS, RelayLease),
}


# Declared, so that their partitions are there from the beginning; no service writes or reads them yet.
UNUSED = {
    "inbound-retry": "mail.inbound.retry",
}


def kind_of(topic: str, prefix: str) -> TopicKind:
    """What a short name or a full one (with or without the prefix) means. Raises CommandFailed."""
    bare = topic.removeprefix(prefix)
    by_name = {kind.name: kind for kind in KINDS.values()}
    found = KINDS.get(topic) or by_name.get(topic) or by_name.get(bare)
    if found is not None:
        return found
    if topic in UNUSED or bare in UNUSED.values():
        name = prefix + UNUSED.get(topic, bare)
        raise CommandFailed(
            f"nothing is written to {name} yet: it is kept for what this version does not do", Exit.NOT_FOUND
        )
    raise CommandFailed(f"topic {topic!r} is not known; known are {', '.join(KINDS)}", Exit.USAGE)
