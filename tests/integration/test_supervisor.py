"""`postlane outbound --processes N` on a real broker: it sends, mends itself and stops."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.postlane_process import Installation, eventually, installed, request
from localstack.relay_client import RelayControl

TICKETS = 6


@pytest.fixture
def site(tmp_path: Path, kafka_bootstrap: str, relay: RelayControl) -> Iterator[Installation]:
    with installed(tmp_path, kafka_bootstrap, relay) as site:
        yield site


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at /proc")
def test_a_team_sends_is_mended_and_stops(site: Installation, relay: RelayControl) -> None:
    supervisor = site.start("outbound", "--processes", "2")
    site.produce(*(request(f"t{n}", 0) for n in range(TICKETS)))
    relay.wait_for(lambda mails: len(mails) >= TICKETS)
    first = eventually("two processes", lambda: found if len(found := children(supervisor.pid)) == 2 else [])
    os.kill(first[0], signal.SIGKILL)
    eventually("another one in its place", lambda: len(set(children(supervisor.pid)) - {first[0]}) == 2)
    site.produce(*(request(f"t{n}", 1) for n in range(TICKETS)))
    relay.wait_for(lambda mails: len({mail.subject for mail in mails}) >= 2 * TICKETS)
    team = children(supervisor.pid)
    supervisor.terminate()
    assert supervisor.wait(60) == 0
    assert not any(alive(pid) for pid in team)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at /proc")
def test_a_team_does_not_outlive_its_supervisor(site: Installation) -> None:
    supervisor = site.start("outbound", "--processes", "2")
    team = eventually("two processes", lambda: found if len(found := children(supervisor.pid)) == 2 else [])
    log = site.folder / "outbound.log"
    eventually("both at work", lambda: log.read_text().count("partitions_assigned") >= 2)
    supervisor.kill()
    supervisor.wait()
    eventually("nobody is left", lambda: not any(alive(pid) for pid in team))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at /proc")
def test_a_named_process_that_is_killed_gets_its_partitions_back_and_nobody_else_notices(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTLANE_KAFKA__INSTANCE_ID", "pod-0")
    # On a busy machine a process may take longer to start than a session lasts by default.
    monkeypatch.setenv("POSTLANE_KAFKA__EXTRA", '{"session.timeout.ms": "60000"}')
    supervisor = site.start("outbound", "--processes", "2")
    team = eventually("two processes", lambda: found if len(found := children(supervisor.pid)) == 2 else [])
    log = site.folder / "outbound.log"

    def shared_out() -> bool:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        given = [
            line["partitions"]
            for line in lines
            if line["event"] == "partitions_assigned" and line["partitions"]
        ]
        taken = [line for line in lines if line["event"] == "partition_taken_over"]
        return len(given) >= 2 and len(taken) >= sum(map(len, given))

    eventually("both have partitions", shared_out)
    moved, taken = log.read_text().count("partitions_revoked"), log.read_text().count("partition_taken_over")
    os.kill(team[0], signal.SIGKILL)
    eventually("they are taken over again", lambda: log.read_text().count("partition_taken_over") > taken)
    assert log.read_text().count("partitions_revoked") == moved
    assert "partitions_lost" not in log.read_text()
    supervisor.terminate()
    assert supervisor.wait(60) == 0
