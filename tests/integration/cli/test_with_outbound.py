"""The operator's round with the real sender: a mail dies, is seen, replayed, delivered; the service starts and stops."""

import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from integration.cli.desk import Desk
from integration.postlane_process import POSTLANE, STOP_SECONDS, eventually
from localstack.ports import free_ports
from localstack.relay_client import RelayControl


@contextmanager
def sender(desk: Desk, relay: RelayControl, more: str = "") -> Iterator[str]:
    """`postlane outbound` as a process; the URL of its health pages. It must drain and end with 0."""
    (port,) = free_ports(1)
    config = desk.configure(
        f'[relays.main]\nhost = "{relay.host}"\nport = {relay.port}\ntls = "none"\n'
        f'username = "{relay.user}"\npassword = "{relay.password}"\n[http]\nport = {port}\n{more}'
    )
    with (desk.directory / "outbound.log").open("ab") as log:
        process = subprocess.Popen((*POSTLANE, "--config", str(config), "outbound"), stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_a_dead_mail_is_seen_replayed_and_delivered(desk: Desk, ticket: str, relay: RelayControl) -> None:
    relay.take_only("*@elsewhere.test")
    with sender(desk, relay) as url:
        eventually("ready", lambda: _answers(f"{url}/readyz"))
        event_id = desk.send(ticket, "--subject", "To a dead address")
        eventually("dead", lambda: bool(desk.open_places("--ticket", ticket)))
        (dead,) = desk.run("dlq", "list", "--ticket", ticket, "--json").json
        assert dead["death"]["reply"]
        (failed,) = desk.run("status", event_id, "--json").json["mails"]
        assert (failed["state"], failed["where"]) == ("FAILED", "ended")
        assert failed["request"]["subject"] == "To a dead address"
        assert (
            f"open: postlane dlq show {dead['place']}; postlane dlq replay" in desk.run("status", ticket).out
        )

        relay.take_only("*")
        assert desk.run("dlq", "replay", "--ticket", ticket, "--yes").code == 0

        def states() -> list[str | None]:
            return [mail["state"] for mail in desk.run("status", event_id, "--json").json["mails"]]

        eventually("delivered", lambda: states() == ["FAILED", "SENT"])
        sent = desk.run("status", event_id, "--json").json["mails"][1]
        by_message = desk.run("status", sent["message_id"], "--json").json["mails"]
        assert [mail["event_id"] for mail in by_message] == [event_id, event_id]
        assert desk.open_places("--ticket", ticket) == set()

        topic = desk.topic("mail.outbound")
        original, replay = (
            f"{topic} {mail['partition']}/{mail['origin']['offset']}"
            for mail in desk.run("status", event_id, "--json").json["mails"]
        )
        letter = f"dead letter {topic}.dlq {dead['place'].replace(':', '/')}"
        text = desk.run("status", ticket).out
        assert f"  replay of {original}, by way of {letter}\n" in text
        assert re.search(rf"  {re.escape(letter)}, replayed \S+ \S+ as {re.escape(replay)}\n", text)
        assert "postlane dlq" not in text, "nothing is left to do"
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            metrics = answer.read().decode()
        assert 'state="SENT"' in metrics
        assert "postlane_commit_seconds_count" in metrics
