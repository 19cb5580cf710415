"""The network of a run, between a client and a server that are a few lines each."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from chaos.inbound.wire import Act, Snag, Wire
from localstack.ports import HOST, free_ports

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """Answers every line and remembers it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.heard.append(line)
            writer.write(b"OK " + line)
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    heard, (port,) = Echo(), free_ports(1)
    server = await asyncio.start_server(heard.serve, HOST, port)
    yield heard, port
    server.close()


@dataclass
class Site:
    """A wire and the port before it; every connection has the snag."""

    port: int
    server_port: int
    snag: Snag | None = None

    def __post_init__(self) -> None:
        self.wire = Wire(lambda _number: self.snag, self.port, self.server_port)


@pytest.fixture
async def site(echo: tuple[Echo, int]) -> AsyncIterator[Site]:
    site = Site(free_ports(1)[0], echo[1])
    await site.wire.listen()
    yield site
    await site.wire.close()


async def connect(port: int) -> Streams:
    return await asyncio.open_connection(HOST, port)


async def ask(streams: Streams, line: bytes) -> bytes:
    """The answer, or nothing where the connection is over."""
    streams[1].write(line)
    try:
        return await asyncio.wait_for(streams[0].readline(), 10)
    except ConnectionError:
        return b""


async def test_what_is_calm_passes(site: Site) -> None:
    streams = await connect(site.port)
    assert await ask(streams, b"a NOOP\n") == b"OK a NOOP\n"


@pytest.mark.parametrize(
    ("act", "heard"), [(Act.CUT, [b"a NOOP\n"]), (Act.CUT_UNHEARD, [b"a NOOP\n", b"b UID MOVE 1 Done\n"])]
)
async def test_a_connection_ends_at_a_command(
    site: Site,
    echo: tuple[Echo, int],
    act: Act,
    heard: list[bytes],
) -> None:
    site.snag = Snag(act, b"UID MOVE", 1)
    streams = await connect(site.port)
    assert await ask(streams, b"a NOOP\n") == b"OK a NOOP\n"
    assert await ask(streams, b"b UID MOVE 1 Done\n") == b""
    assert echo[0].heard == heard
    assert site.wire.done[act] == 1


async def test_a_connection_ends_in_the_middle_of_an_answer(site: Site) -> None:
    site.snag = Snag(Act.CUT, b"", 5)
    streams = await connect(site.port)
    streams[1].write(b"a NOOP\n")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(streams[0].readexactly(6), 10)


async def test_all_connections_are_cut_and_come_back(site: Site) -> None:
    streams = await connect(site.port)
    assert await ask(streams, b"a NOOP\n")
    await site.wire.cut(0.0)
    assert await ask(streams, b"b NOOP\n") == b""
    assert await ask(await connect(site.port), b"c NOOP\n") == b"OK c NOOP\n"


async def test_who_fetches_is_told(site: Site) -> None:
    streams = await connect(site.port)
    waiting = asyncio.create_task(site.wire.next_fetch(10))
    await asyncio.sleep(0)
    await ask(streams, b"a UID FETCH 1:9 (UID BODY.PEEK[])\n")
    assert await waiting == streams[1].get_extra_info("sockname")[1]
    assert await site.wire.next_fetch(0.01) is None
