"""An operator holds a ticket, and decides about mail that died and was kept."""

from integration.cli.desk import Desk
from integration.cli.test_with_outbound import sender
from integration.postlane_process import eventually
from localstack.relay_client import RelayControl

HOLD_DEAD = '[outbound]\non_dead = "hold"\n'


def subjects(relay: RelayControl) -> list[str]:
    return [mail.subject for mail in relay.mails()]


def states(desk: Desk, ticket: str) -> list[str | None]:
    answer = desk.run("status", ticket, "--json")
    return [mail["state"] for mail in answer.json["mails"]] if answer.code == 0 else []


def test_a_held_ticket_waits_and_another_does_not(desk: Desk, ticket: str, relay: RelayControl) -> None:
    assert desk.run("ticket", "hold", ticket, "--reason", "the customer called").code == 0
    (held,) = [one for one in desk.run("ticket", "list", "--json").json if one["ticket_id"] == ticket]
    assert held["reason"] == "the customer called"
    with sender(desk, relay):
        desk.send(ticket, "--subject", "held")
        desk.send(f"{ticket}-other", "--subject", "free")
        relay.wait_for(lambda mails: len(mails) >= 1)
        eventually("told", lambda: states(desk, ticket) == ["HELD"])
        assert "the customer called" in desk.run("status", ticket).out
        assert subjects(relay) == ["free"]
        assert desk.run("ticket", "release", ticket).code == 0
        relay.wait_for(lambda mails: len(mails) >= 2)
    assert subjects(relay) == ["free", "held"]
    assert ticket not in desk.run("ticket", "list").out


def test_a_dead_mail_is_kept_then_tried_again_then_skipped(
    desk: Desk, ticket: str, relay: RelayControl
) -> None:
    relay.take_only("*@elsewhere.test")
    with sender(desk, relay, HOLD_DEAD):
        desk.send(ticket, "--subject", "first")
        eventually("kept", lambda: states(desk, ticket) == ["HELD"])
        desk.send(ticket, "--subject", "second")
        assert desk.run("dlq", "list", "--ticket", ticket, "--json").json == []
        assert desk.run("ticket", "retry", ticket).code == 0
        eventually("kept again", lambda: desk.run("status", ticket).out.count("HELD") >= 3)
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
