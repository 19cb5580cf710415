"""Command: what is wanted of tickets, mails, relays and recipients, as the compacted topic mail.control keeps it.

about        key                         partition                             obeyed by
ticket       ticket:<id>                 of the ticket in mail.outbound        its owner
mail         mail:<id>/<p>/<offset>      of the mail in mail.outbound          its owner
relay        relay:<name>                murmur2 of this key                   every sender
recipient    recipient:<mailbox_key>     murmur2 of this key                   every sender
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from postlane.core.addresses import mailbox_key
from postlane.core.partitioner import partition_of

TICKET, MAIL, RELAY, RECIPIENT = "ticket:", "mail:", "relay:", "recipient:"
_OF_ALL = (RELAY.encode(), RECIPIENT.encode())


class Wish(StrEnum):
    """What shall be done."""

    HOLD_TICKET = "HOLD_TICKET"
    RELEASE_TICKET = "RELEASE_TICKET"
    RETRY_MAIL = "RETRY_MAIL"
    SKIP_MAIL = "SKIP_MAIL"
    PAUSE_RELAY = "PAUSE_RELAY"
    RESUME_RELAY = "RESUME_RELAY"
    SUPPRESS_RECIPIENT = "SUPPRESS_RECIPIENT"
    ALLOW_RECIPIENT = "ALLOW_RECIPIENT"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One wish. `topic_id`, `partition` and `offset` name the mail for RETRY_MAIL and SKIP_MAIL, `held` its death (core.sending.lane_mail).

    `relay` and `recipient` (as `mailbox_key` spells it) are set for wishes about them, `expires_at` where these end by themselves.
    """

    command_id: str
    issued_at: datetime
    issued_by: str
    wish: Wish
    ticket_id: str = ""
    reason: str = ""
    topic_id: str | None = None
    partition: int | None = None
    offset: int | None = None
    held: int = 0
    relay: str | None = None
    recipient: str | None = None
    cause: str = ""
    expires_at: datetime | None = None


def command_key(command: Command) -> bytes:
    """The key under which the newest command replaces those before it: what the command is about."""
    match command.wish:
        case Wish.RETRY_MAIL | Wish.SKIP_MAIL:
            return f"{MAIL}{command.topic_id}/{command.partition}/{command.offset}".encode()
        case Wish.PAUSE_RELAY | Wish.RESUME_RELAY:
            return f"{RELAY}{command.relay}".encode()
        case Wish.SUPPRESS_RECIPIENT | Wish.ALLOW_RECIPIENT:
            return f"{RECIPIENT}{mailbox_key(command.recipient or '')}".encode()
        case Wish.HOLD_TICKET | Wish.RELEASE_TICKET | Wish.OTHER:
            return f"{TICKET}{command.ticket_id}".encode()
        case _:
            assert_never(command.wish)


def concerns_all(key: bytes | None) -> bool:
    """Whether a record of mail.control is about a relay or a recipient, so that every sender must know it."""
    return key is not None and key.startswith(_OF_ALL)


def partition_for_all(key: bytes, partition_count: int) -> int:
    """Where a command about a relay or a recipient stands: always the same for a key, or compaction could not keep the newest."""
    return partition_of(key, partition_count)
