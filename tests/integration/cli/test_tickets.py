"""An operator holds a ticket, and decides about mail that died and was kept."""

from typing import Any

from integration.cli.desk import Desk
from integration.cli.test_with_outbound import sender
from integration.postlane_process import eventually
from localstack.relay_client import RelayControl

HOLD_DEAD = '[outbound]\non_dead = "hold"\nsuppress_unknown_seconds = 0\n'


def subjects(relay: RelayControl) -> list[str]:
    return [mail.subject for mail in relay.mails()]


def waiting(desk: Desk, ticket: str) -> list[dict[str, Any]]:
    """What `ticket list` says of this ticket."""
    return [one for one in desk.run("ticket", "list", "--json").json if one["ticket_id"] == ticket]


def states(desk: Desk, ticket: str) -> list[str | None]:
    answer = desk.run("status", ticket, "--json")
    return [mail["state"] for mail in answer.json["mails"]] if answer.code == 0 else []


def test_a_held_ticket_waits_and_another_does_not(desk: Desk, ticket: str, relay: RelayControl) -> None:
    assert desk.run("ticket", "hold", ticket, "--reason", "the customer called").code == 0
    (held,) = waiting(desk, ticket)
    assert (held["kind"], held["reason"]) == ("held", "the customer called")
    with sender(desk, relay):
        desk.send(ticket, "--subject", "held")
        desk.send(f"{ticket}-other", "--subject", "free")
        relay.wait_for(lambda mails: len(mails) >= 1)
        eventually("told", lambda: states(desk, ticket) == ["HELD"])
        told = desk.run("status", ticket)
        assert f"ticket {ticket} is held by {held['by']} since " in told.out
        assert f": the customer called; to let it go on: postlane ticket release {ticket}\n" in told.out
        assert desk.run("status", ticket, "--json").json["holds"] == [held]
        alive = desk.run("ticket", "retry", ticket)
        assert alive.code == 1
        assert f"has not died: its ticket is held by {held['by']}" in alive.err
        assert f"postlane ticket release {ticket}" in alive.err
        assert subjects(relay) == ["free"]
        assert desk.run("ticket", "release", ticket).code == 0
        relay.wait_for(lambda mails: len(mails) >= 2)
    assert subjects(relay) == ["free", "held"]
    assert waiting(desk, ticket) == []


def test_a_dead_mail_is_kept_then_tried_again_then_skipped(
    desk: Desk, ticket: str, relay: RelayControl
) -> None:
    relay.take_only("*@elsewhere.test")
    with sender(desk, relay, HOLD_DEAD):
        desk.send(ticket, "--subject", "first")
        eventually("kept", lambda: bool(waiting(desk, ticket)))
        (kept,) = waiting(desk, ticket)
        assert (kept["kind"], kept["subject"], kept["deaths"]) == ("dead_mail", "first", 1)
        assert f"postlane ticket retry {ticket}" in desk.run("ticket", "list").out
        refused = desk.run("ticket", "release", ticket)
        assert refused.code == 4
        assert (
            f"ticket {ticket} is not held; its mail that died waits for postlane ticket retry" in refused.err
        )
        desk.send(ticket, "--subject", "second")
        assert desk.run("dlq", "list", "--ticket", ticket, "--json").json == []
        assert desk.run("ticket", "retry", ticket).code == 0
        eventually("kept again", lambda: [one["deaths"] for one in waiting(desk, ticket)] == [2])
        relay.take_only("*")
        answer = desk.run("ticket", "skip", ticket, "--yes", "--reason", "wrong address")
        assert answer.code == 0, answer.err
        assert "first" in answer.out
        relay.wait_for(lambda mails: len(mails) >= 1)
        eventually("both ended", lambda: states(desk, ticket) == ["SKIPPED", "SENT"])
    assert subjects(relay) == ["second"]
    (dead,) = desk.run("dlq", "list", "--ticket", ticket, "--json").json
    assert dead["death"]["cause"] == "skipped"


def test_what_cannot_be_decided_is_refused(desk: Desk, ticket: str) -> None:
    nothing = desk.run("ticket", "skip", ticket, "--yes")
    assert nothing.code == 4
    assert f"nothing of ticket {ticket} waits" in nothing.err
    desk.send(ticket, "--subject", "unread")
    alive = desk.run("ticket", "retry", ticket)
    assert alive.code == 1
    assert "has not died" in alive.err


def test_a_hold_is_ended_once_and_renewed_in_words(desk: Desk, ticket: str) -> None:
    nothing = desk.run("ticket", "release", ticket)
    assert nothing.code == 4
    assert f"ticket {ticket} is not held\n" in nothing.err
    assert desk.run("ticket", "hold", ticket, "--reason", "first").code == 0
    (first,) = waiting(desk, ticket)
    again = desk.run("ticket", "hold", ticket, "--reason", "second")
    assert again.out.startswith(f"ticket {ticket} was held already by {first['by']} since ")
    assert again.out.endswith("; its reason is now: second\n")
    assert [one["reason"] for one in waiting(desk, ticket)] == ["second"]
    assert desk.run("ticket", "release", ticket).code == 0
    assert desk.run("ticket", "release", ticket).code == 4


def test_nothing_that_waits_is_said_in_a_sentence(desk: Desk) -> None:
    for one in desk.run("ticket", "list", "--json").json:
        assert desk.run("ticket", "release", one["ticket_id"]).code == 0
    ran = desk.run("ticket", "list")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "no ticket is held, and no dead mail waits for a decision\n"
