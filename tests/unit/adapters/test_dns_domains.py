"""What DnsDomains does with time, several name servers, and connections; the rest is in tests/contract."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import structlog.testing
import uvloop

from fakes.name_server import NameServer
from fakes.zone_script import ZoneScript, world
from postlane.adapters.dns_domains import LOOKUPS_MAX, DnsDomains
from postlane.core.routing.mail_domains import (
    REST_SECONDS,
    SILENT_LOOKUPS_MAX,
    UNKNOWN_SECONDS,
    NoAnswer,
    NoRecords,
    Question,
)

PATIENT_SECONDS = 60.0
NOWHERE = ["a@nowhere.example"]


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    server = NameServer(world())
    await server.start()
    yield server
    await server.stop()


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for happens elsewhere
            await asyncio.sleep(0.005)


async def test_what_does_not_fit_a_datagram_comes_by_connection(server: NameServer) -> None:
    server.script.truncated.add("nowhere.example")
    domains = DnsDomains([server.address], PATIENT_SECONDS)
    assert set(await domains.check(NOWHERE)) == set(NOWHERE)
    ways = [(question, way) for name, question, way in server.script.asked if name == "nowhere.example"]
    assert ways == [(question, way) for question in ("MX", "A", "AAAA") for way in ("udp", "tcp")]
    await domains.close()


@pytest.mark.parametrize("fault", ["REFUSED", "SERVFAIL", "silent"])
async def test_the_next_name_server_takes_over(server: NameServer, fault: str) -> None:
    first = NameServer(world())
    await first.start()
    if fault == "silent":
        first.script.silent |= {"nowhere.example", "com"}
    else:
        first.script.rcodes |= {"nowhere.example": fault, "com": fault}
    domains = DnsDomains([first.address, server.address], 12.0 if fault == "silent" else PATIENT_SECONDS)
    answer = await domains.ask("nowhere.example", Question.MX)
    assert isinstance(answer, NoRecords)
    assert not answer.exists
    assert first.script.names_asked() == server.script.names_asked() == ["nowhere.example"]
    await domains.close()
    await first.stop()


async def test_nobody_listens() -> None:
    server = NameServer(world())
    await server.start()
    await server.stop()
    domains = DnsDomains([server.address], 0.3)
    assert await domains.check(NOWHERE) == {}
    answer = await domains.ask("nowhere.example", Question.MX)
    assert isinstance(answer, NoAnswer)
    assert answer.silent
    await domains.close()


async def test_what_comes_late_is_believed_the_next_time(server: NameServer) -> None:
    server.script.waits_for = asyncio.Event()
    clock = Clock()
    domains = DnsDomains([server.address], 0.3, clock)
    assert await domains.check(NOWHERE) == {}
    server.script.waits_for.set()
    patient = DnsDomains([server.address], PATIENT_SECONDS, clock)
    assert set(await patient.check(NOWHERE)) == set(NOWHERE)
    asked = len(server.script.asked)
    assert await domains.check(NOWHERE) == {}  # not known, and not asked again so soon
    assert len(server.script.asked) == asked
    clock.now += UNKNOWN_SECONDS
    await domains.check(NOWHERE)
    assert len(server.script.asked) > asked
    await domains.close()
    await patient.close()


async def test_what_has_expired_is_asked_again(server: NameServer) -> None:
    server.script.ttl_seconds = 120
    clock = Clock()
    domains = DnsDomains([server.address], PATIENT_SECONDS, clock)
    assert set(await domains.check(NOWHERE)) == set(NOWHERE)
    server.script.records["nowhere.example"] = {"MX": ["10 mx.example."]}
    clock.now += 119
    assert set(await domains.check(NOWHERE)) == set(NOWHERE)
    clock.now += 1
    assert await domains.check(NOWHERE) == {}
    await domains.close()


async def test_name_servers_that_say_nothing_are_left_in_peace(server: NameServer) -> None:
    names = [f"silent{number}.example" for number in range(SILENT_LOOKUPS_MAX)]
    server.script.silent |= set(names)
    clock = Clock()
    domains = DnsDomains([server.address], 0.2, clock)
    with structlog.testing.capture_logs() as logs:
        for name in names:
            assert await domains.check([f"a@{name}"]) == {}
        await until(lambda: bool(logs))  # the last lookup may end a moment after the check
    assert [line["event"] for line in logs] == ["dns_silent"]
    asked = len(server.script.asked)
    assert await domains.check(NOWHERE) == {}
    assert len(server.script.asked) == asked
    clock.now += REST_SECONDS
    await domains.check(NOWHERE)
    assert len(server.script.asked) > asked
    await domains.close()


async def test_one_who_gives_up_takes_the_answer_from_nobody(server: NameServer) -> None:
    server.script.waits_for = asyncio.Event()
    domains = DnsDomains([server.address], PATIENT_SECONDS)
    first, second = (asyncio.create_task(domains.check(NOWHERE)) for _ in range(2))
    await until(lambda: bool(server.script.asked))
    first.cancel()
    await asyncio.wait([first])
    server.script.waits_for.set()
    assert set(await second) == set(NOWHERE)
    assert server.script.names_asked().count("nowhere.example") == len(Question)
    await domains.close()


async def test_closing_lets_those_go_on_who_wait(server: NameServer) -> None:
    server.script.waits_for = asyncio.Event()
    domains = DnsDomains([server.address], PATIENT_SECONDS)
    recipients = [f"a@d{number}.example" for number in range(2 * LOOKUPS_MAX)]
    waiting = asyncio.create_task(domains.check(recipients))
    await until(lambda: len(server.script.asked) >= LOOKUPS_MAX)
    assert len(server.script.asked) == LOOKUPS_MAX
    await domains.close()
    assert await asyncio.wait_for(waiting, timeout=30) == {}


async def test_the_system_names_its_name_servers() -> None:
    assert DnsDomains().servers


def test_it_runs_on_uvloop() -> None:
    async def run() -> tuple[ZoneScript, set[str]]:
        server = NameServer(world())
        await server.start()
        server.script.records["x.example"] = {"MX": ["10 mx.example."]}
        server.script.truncated.add("nowhere.example")
        domains = DnsDomains([server.address], PATIENT_SECONDS)
        refused = await domains.check(["a@x.example", *NOWHERE])
        await domains.close()
        await server.stop()
        return server.script, set(refused)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        script, refused = runner.run(run())
    assert refused == set(NOWHERE)
    assert ("nowhere.example", "MX", "tcp") in script.asked
