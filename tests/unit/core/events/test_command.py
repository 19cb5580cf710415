"""Operators' commands: which newer one replaces which, and what the lanes hear of them."""

from datetime import UTC, datetime

import pytest

from postlane.core.events.command import Command, Wish, command_key
from postlane.core.events.status import Origin
from postlane.core.sending.lane_mail import MailDecided, TicketFreed, TicketHeld
from postlane.core.sending.wishes import lanes_event


def command(wish: Wish, **changes: object) -> Command:
    fields: dict[str, object] = {
        "command_id": "c1",
        "issued_at": datetime(2026, 1, 1, tzinfo=UTC),
        "issued_by": "ann",
        "wish": wish,
        "ticket_id": "Ä-1",
        "topic_id": "T",
        "partition": 3,
        "offset": 7,
        "held": 2,
    }
    return Command(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wish", "event"),
    [
        (Wish.HOLD_TICKET, TicketHeld("Ä-1".encode(), "held by an operator")),
        (Wish.RELEASE_TICKET, TicketFreed("Ä-1".encode())),
        (Wish.RETRY_MAIL, MailDecided(Origin("T", 7), 2, skip=False, command_id="c1")),
        (Wish.SKIP_MAIL, MailDecided(Origin("T", 7), 2, skip=True, command_id="c1")),
        (Wish.OTHER, None),
    ],
)
def test_each_wish_is_one_event(wish: Wish, event: TicketHeld | TicketFreed | MailDecided | None) -> None:
    assert lanes_event(command(wish)) == event


def test_a_hold_says_why() -> None:
    assert lanes_event(command(Wish.HOLD_TICKET, reason="a lawyer")) == TicketHeld("Ä-1".encode(), "a lawyer")


@pytest.mark.parametrize("missing", ["topic_id", "offset"])
@pytest.mark.parametrize("wish", [Wish.RETRY_MAIL, Wish.SKIP_MAIL])
def test_a_decision_that_names_no_mail_is_about_none(wish: Wish, missing: str) -> None:
    assert lanes_event(command(wish, **{missing: None})) is None


def test_a_command_replaces_the_one_before_it_about_the_same_thing_alone() -> None:
    keys = {wish: command_key(command(wish)) for wish in Wish if wish is not Wish.OTHER}
    assert keys[Wish.HOLD_TICKET] == keys[Wish.RELEASE_TICKET]
    assert keys[Wish.RETRY_MAIL] == keys[Wish.SKIP_MAIL]
    about = [
        keys[Wish.HOLD_TICKET],
        command_key(command(Wish.HOLD_TICKET, ticket_id="Ä-2")),
        keys[Wish.SKIP_MAIL],
        command_key(command(Wish.SKIP_MAIL, offset=8)),
        command_key(command(Wish.SKIP_MAIL, partition=4)),
        command_key(command(Wish.SKIP_MAIL, topic_id="U")),
    ]
    assert len(set(about)) == len(about)
