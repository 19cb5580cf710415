"""Command: what operators want of tickets and mails, as the compacted topic mail.control keeps it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Wish(StrEnum):
    """What shall be done."""

    HOLD_TICKET = "HOLD_TICKET"
    RELEASE_TICKET = "RELEASE_TICKET"
    RETRY_MAIL = "RETRY_MAIL"
    SKIP_MAIL = "SKIP_MAIL"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One wish. `topic_id`, `partition` and `offset` name the mail for RETRY_MAIL and SKIP_MAIL, `held` its death (core.sending.lane_mail)."""

    command_id: str
    issued_at: datetime
    issued_by: str
    wish: Wish
    ticket_id: str
    reason: str = ""
    topic_id: str | None = None
    partition: int | None = None
    offset: int | None = None
    held: int = 0


def command_key(command: Command) -> bytes:
    """The key under which the newest command replaces those before it: what the command is about."""
    if command.wish in {Wish.RETRY_MAIL, Wish.SKIP_MAIL}:
        return f"mail:{command.topic_id}/{command.partition}/{command.offset}".encode()
    return f"ticket:{command.ticket_id}".encode()
