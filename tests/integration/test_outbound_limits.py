"""Several sender processes share one relay's limits, on a real broker and a real relay."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.postlane_process import Installation, eventually, installed, request
from localstack.relay_client import RelayControl
from localstack.relay_policy import Act, Fault, Phase, Quota
from postlane.core.events.relay_lease import RelayLease

Install = Callable[[str], Installation]


@pytest.fixture
def install(tmp_path: Path, kafka_bootstrap: str, relay: RelayControl) -> Iterator[Install]:
    """An installation whose relay has these further lines in its section."""
    with ExitStack() as installations:

        def make(lines: str) -> Installation:
            site = installations.enter_context(installed(tmp_path, kafka_bootstrap, relay))
            config = site.config.read_text().replace(
                "hold_seconds_max = 1\n", f"hold_seconds_max = 1\n{lines}\n"
            )
            site.config.write_text(config)
            return site

        yield make


def relays_says(site: Installation) -> str:
    command = [sys.executable, "-m", "postlane.ops", "--config", str(site.config), "relays"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_budget_holds_for_all_senders_and_over_their_deaths(install: Install, relay: RelayControl) -> None:
    site = install('budgets = ["12 mails/hour"]')
    first, second = site.start("outbound"), site.start("outbound")
    site.produce(*(request(f"t{n}", 0) for n in range(30)))
    eventually(
        "the budget to be used up",
        lambda: [s for s in site.statuses() if s.cause == "quota" and "12 mails/hour" in s.reason],
    )
    first.kill()
    second.kill()
    sent = len(relay.mails())
    assert 1 <= sent <= 12
    site.start("outbound")
    eventually("the new sender's word", lambda: "senders that share it now: 1" in relays_says(site))
    words = relays_says(site)
    assert "12 mails/hour" in words
    assert "used in the last hour, by all senders" in words
    waiting = [status for status in site.statuses() if not status.final]
    assert all(status.attempt == 0 for status in waiting)
    assert len(relay.mails()) <= 12


def test_connections_are_those_of_all_senders(install: Install, relay: RelayControl) -> None:
    relay.add_fault(Fault(Phase.FINAL, Act.DELAY, seconds=0.2, times=None))
    site = install("connections = 2")
    site.start("outbound")
    site.start("outbound")
    site.produce(*(request(f"t{n}", 0) for n in range(30)))
    relay.wait_for(lambda found: len(found) >= 30)
    assert relay.counts().most_open <= 2


def test_sessions_that_end_and_begin_stay_within_the_connections(
    install: Install, relay: RelayControl
) -> None:
    relay.reset()
    relay.add_fault(Fault(Phase.FINAL, Act.DELAY, seconds=0.02, times=None))
    site = install("connections = 4\nmails_per_connection = 5\nidle_seconds = 1")
    site.start("outbound")
    site.start("outbound")
    site.produce(*(request(f"t{n}", 0) for n in range(150)))
    relay.wait_for(lambda found: len(found) >= 40)
    relay.add_fault(Fault(Phase.MAIL, Act.CUT, times=6))
    relay.wait_for(lambda found: len({mail.subject for mail in found}) >= 150)
    assert 2 <= relay.counts().most_open <= 4


def test_a_quota_reply_to_one_sender_holds_all(install: Install, relay: RelayControl) -> None:
    site = install("")
    site.start("outbound")
    site.start("outbound")
    site.produce(*(request(f"warm{n}", 0) for n in range(12)))
    relay.wait_for(lambda found: len(found) >= 12)
    relay.set_quota(Quota(0, Phase.MAIL))
    site.produce(request("over", 0))
    eventually("a report", lambda: [lease for lease in leases(site) if lease.report is not None])
    eventually("a hold of all", lambda: [lease for lease in leases(site) if _holds(lease)])
    words = relays_says(site)
    assert "HELD" in words or "DUE" in words
    relay.lift_quota()
    site.produce(*(request(f"late{n}", 0) for n in range(12)))
    relay.wait_for(lambda found: len(found) >= 25)


def test_who_leaves_politely_gives_all_back_at_once(install: Install, relay: RelayControl) -> None:
    site = install("connections = 1")
    first = site.start("outbound")
    site.produce(request("a", 0))
    relay.wait_for(lambda found: len(found) == 1)
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    assert leases(site)[-1].request is not None or [
        x for x in leases(site) if x.request and x.request.leaving
    ]
    site.start("outbound")
    site.produce(request("b", 0))
    relay.wait_for(lambda found: len(found) == 2, timeout_seconds=30)


def leases(site: Installation) -> list[RelayLease]:
    return [site.codec.decode(RelayLease, record.value) for record in site.read("mail.relays")]


def _holds(lease: RelayLease) -> bool:
    said = lease.snapshot or lease.grant
    return said is not None and said.hold is not None and said.hold.cause == "quota"
