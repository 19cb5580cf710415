"""What operators' commands mean to the lanes."""

from typing import assert_never

from postlane.core.events.command import Command, Wish
from postlane.core.events.status import Origin
from postlane.core.sending.lane_mail import MailDecided, TicketFreed, TicketHeld


def lanes_event(command: Command) -> TicketHeld | TicketFreed | MailDecided | None:
    """What the lanes of its partition have to hear; None for a command that says nothing to them."""
    match command.wish:
        case Wish.HOLD_TICKET:
            return TicketHeld(command.ticket_id.encode(), command.reason or "held by an operator")
        case Wish.RELEASE_TICKET:
            return TicketFreed(command.ticket_id.encode())
        case Wish.RETRY_MAIL | Wish.SKIP_MAIL:
            if command.topic_id is None or command.offset is None:
                return None
            origin = Origin(command.topic_id, command.offset)
            skip = command.wish is Wish.SKIP_MAIL
            return MailDecided(origin, command.held, skip=skip, command_id=command.command_id)
        case Wish.PAUSE_RELAY | Wish.RESUME_RELAY | Wish.SUPPRESS_RECIPIENT | Wish.ALLOW_RECIPIENT:
            return None  # every sender obeys these, whatever it owns (core.control.standing)
        case Wish.OTHER:
            return None
        case _:
            assert_never(command.wish)
