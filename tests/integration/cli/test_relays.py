"""An operator looks at the relays, pauses one and lets it go on, with the real sender at work."""

from pathlib import Path
from typing import Any

import pytest

from integration.cli.desk import Desk
from integration.cli.test_with_outbound import sender
from integration.postlane_process import eventually
from localstack.ports import free_ports
from localstack.relay_client import RelayControl
from localstack.relay_policy import Quota

MAIN = '[relays.main]\nhost = "smtp.example.com"\nbudgets = ["100 mails/hour"]\n'


@pytest.fixture
def config(desk: Desk) -> Path:
    """As the operator's machine has it: only the relays' names must be those of the sender."""
    return desk.configure(MAIN)


def shown(desk: Desk, config: Path, name: str = "main") -> dict[str, Any]:
    ran = desk.run("relays", "list", "--json", config=config)
    assert ran.code == 0, ran.err
    (found,) = [relay for relay in ran.json if relay["relay"] == name]
    return dict(found)


def told(desk: Desk, ticket: str) -> list[tuple[str, str]]:
    """State and cause of the ticket's mails."""
    answer = desk.run("status", ticket, "--json")
    return [(mail["state"], mail["cause"]) for mail in answer.json["mails"]] if answer.code == 0 else []


def test_a_relay_that_nobody_has_used_is_unknown(desk: Desk, config: Path) -> None:
    relay = shown(desk, config)
    assert (relay["state"], relay["budgets"]) == ("unknown", ["100 mails/hour"])
    assert [route["route"] for route in relay["routes"]] == ["default"]
    assert desk.run("relays", config=config).out.startswith("main  UNKNOWN: ")
    assert desk.run("relays", "--json", config=config).json == [relay]


def test_a_pause_is_given_once_changed_and_ended(desk: Desk, config: Path) -> None:
    def run(*arguments: str) -> dict[str, Any]:
        ran = desk.run("relays", *arguments, "--json", config=config)
        assert ran.code == 0, ran.err
        return dict(ran.json)

    first = run("pause", "main", "--reason", "their maintenance")
    assert (first["paused"], first["changed"], first["until"]) == (True, True, None)
    assert run("pause", "main") == first | {"changed": False}
    again = desk.run("relays", "pause", "main", config=config)
    assert again.out.startswith("relay main is paused already since ")
    assert again.out.endswith(f" by {first['by']}, until somebody resumes it: their maintenance\n")
    timed = run("pause", "main", "--for", "2h")
    assert (timed["changed"], timed["reason"]) == (True, "their maintenance")
    assert timed["until"] > timed["since"]
    relay = shown(desk, config)
    assert (relay["state"], relay["by"], relay["until"]) == ("paused", timed["by"], timed["until"])
    assert "to let it go on: postlane relays resume main" in desk.run("relays", config=config).out
    ended = run("resume", "main")
    assert (ended["paused"], ended["changed"]) == (False, True)
    assert desk.run("relays", "resume", "main", config=config).out == (
        "relay main is not paused\nnothing says that it holds mail back; senders that know of a hold try it again within seconds\n"
    )
    assert run("resume", "main") == ended | {"changed": False}
    assert shown(desk, config)["state"] == "unknown"


def test_mail_of_a_paused_relay_waits_and_is_counted(
    desk: Desk, config: Path, ticket: str, relay: RelayControl
) -> None:
    assert desk.run("relays", "pause", "main", "--reason", "a test", config=config).code == 0
    with sender(desk, relay):
        for number in range(3):
            desk.send(f"{ticket}-{number}")
        eventually("told", lambda: told(desk, f"{ticket}-0") == [("DEFERRED", "paused")])
        waits = shown(desk, config)
        assert (waits["state"], waits["reason"], waits["waiting"]["ready"]) == ("paused", "a test", 3)
        assert waits["through_never"] == "relay main is paused until somebody resumes it"
        assert relay.mails() == []
        assert desk.run("relays", "resume", "main", config=config).code == 0
        relay.wait_for(lambda mails: len(mails) >= 3)
        eventually("sends", lambda: shown(desk, config)["state"] == "sends")
        eventually("nothing waits", lambda: shown(desk, config)["waiting"]["ready"] == 0)


def test_a_relay_that_is_passed_over_is_seen(desk: Desk, ticket: str, relay: RelayControl) -> None:
    (closed,) = free_ports(1)
    more = (
        f'[relays.first]\nhost = "127.0.0.1"\nport = {closed}\ntls = "none"\n'
        '[routes.all]\nrelays = ["first", "main"]\n'
    )
    config = desk.configure(MAIN + more)
    with sender(desk, relay, more):
        desk.send(ticket)
        relay.wait_for(lambda mails: len(mails) >= 1)
        eventually("seen", lambda: shown(desk, config, "first")["state"] == "passed_over")
    assert shown(desk, config, "first")["told_by"] == "main"
    assert shown(desk, config)["state"] == "sends"
    assert "first  PASSED OVER: main sends in its place, last " in desk.run("relays", config=config).out


def test_a_quota_is_a_hold_with_its_time_and_reason(
    desk: Desk, config: Path, ticket: str, relay: RelayControl
) -> None:
    relay.set_quota(Quota(0))
    with sender(desk, relay):
        for number in range(5):
            desk.send(f"{ticket}-{number}")
        eventually("told", lambda: told(desk, f"{ticket}-4") == [("DEFERRED", "quota")])
        held = shown(desk, config)
        assert (held["state"], held["cause"], held["waiting"]["ready"]) == ("held", "quota", 5)
        assert "Daily sending quota exceeded" in held["reason"]
        assert held["until"] > held["told_at"] >= held["since"]
        assert held["through_seconds_at_best"] > 0
        said = desk.run("relays", config=config).out
        assert said.startswith("main  HELD since ")
        assert "\n  to have it tried at once: postlane relays resume main\n" in said
        assert "  waiting: 5 mails may go now (5 unread or with a sender, 0 in the journal)" in said
        assert "  backlog through in about " in said
    assert shown(desk, config)["state"] == "held"


def test_a_held_relay_is_tried_at_once_when_it_is_resumed(
    desk: Desk, config: Path, ticket: str, relay: RelayControl
) -> None:
    relay.set_quota(Quota(0))
    with sender(desk, relay):
        for number in range(3):
            desk.send(f"{ticket}-{number}")
        eventually("told", lambda: told(desk, f"{ticket}-2") == [("DEFERRED", "quota")])
        relay.lift_quota()
        resumed = desk.run("relays", "resume", "main", config=config)
        assert resumed.out.startswith(
            "relay main is not paused\nit holds mail back (quota): senders try it within seconds"
        )
        relay.wait_for(lambda mails: len(mails) >= 3)
        eventually("sends", lambda: shown(desk, config)["state"] == "sends")
    assert desk.run("relays", "resume", "main", "--json", config=config).json["probed"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("pause", "mian"), 2, "no relay is called 'mian'; did you mean main? known are: main"),
        (("resume", "other"), 2, "no relay is called 'other'; known are: main"),
        (("pause", "main", "--for", "soon"), 2, "is neither a span"),
        (("pause", "main", "--for", "0s"), 2, "it lies in the past"),
        (("--json", "pause", "main"), 2, "--json stands behind the command"),
    ],
)
def test_wrong_use_is_named(
    desk: Desk, config: Path, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    ran = desk.run("relays", *arguments, config=config)
    assert ran.code == code
    assert complaint in " ".join(ran.err.replace("│", " ").split())


def test_without_relays_it_says_where_they_belong(desk: Desk) -> None:
    ran = desk.run("relays")
    assert (ran.code, ran.out) == (0, "")
    assert "no relay is configured" in ran.err
    assert desk.run("relays", "list", "--json").json == []
