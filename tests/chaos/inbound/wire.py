"""The network between pollers and mail server: cuts and stalls single connections by seed, and all of them when it is told to.

What hurts most is a connection that ends between a command and its answer: the server has flagged or moved, and the client cannot know.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from localstack.ports import HOST

SNAGGED_SHARE = 0.4  # of all connections
VERBS = (
    b"LOGIN",
    b"SELECT",
    b"UID SEARCH",
    b"UID FETCH",
    b"UID STORE",
    b"UID MOVE",
    b"UID EXPUNGE",
    b"IDLE",
    b"DONE",
)
FETCH = b"BODY.PEEK[]"
COMMANDS_MAX = 6  # the snag hits one of the first of its kind
BYTES_LOG10_MAX = 5.5
EXECUTED_SECONDS = 0.3  # until the server has carried a command out whose answer nobody will hear
CHUNK_BYTES = 65_536


class Act(StrEnum):
    """`UNHEARD` = the server gets the command, the client no answer."""

    CUT = "cut"
    STALL = "stall"
    CUT_UNHEARD = "cut_unheard"
    STALL_UNHEARD = "stall_unheard"


@dataclass(frozen=True, slots=True)
class Snag:
    """What goes wrong with one connection: at the `count`-th command with this verb, or, without one, after so many bytes from the server."""

    act: Act
    verb: bytes
    count: int


def plan_snag(seed: int, number: int) -> Snag | None:
    """What goes wrong with the connection of this number."""
    rnd = random.Random(f"{seed}:connection:{number}")
    if rnd.random() >= SNAGGED_SHARE:
        return None
    if rnd.random() < 0.35:
        return Snag(rnd.choice((Act.CUT, Act.STALL)), b"", int(10 ** rnd.uniform(1, BYTES_LOG10_MAX)))
    act = rnd.choices(tuple(Act), (3, 1, 5, 2))[0]
    return Snag(act, rnd.choice(VERBS), rnd.randint(1, COMMANDS_MAX))


class Wire:
    """Listens on a port of its own before the mail server's; `plan` tells of each connection by number what goes wrong with it."""

    def __init__(self, plan: Callable[[int], Snag | None], port: int, server_port: int) -> None:
        self.done: Counter[Act] = Counter()
        self._plan = plan
        self._calm = False
        self._port = port
        self._server_port = server_port
        self._numbers = 0
        self._lines: set[_Line] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._open = True
        self.flows = asyncio.Event()
        self.flows.set()
        self._server: asyncio.Server | None = None
        self._fetch: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def listen(self) -> None:
        """Take connections from now on."""
        self._server = await asyncio.start_server(self._connected, HOST, self._port)

    def calm(self) -> None:
        """Nothing goes wrong any more, also with the connections there are."""
        self._open = True
        self.flows.set()
        self._calm = True
        for line in self._lines:
            line.snag = None

    async def cut(self, seconds: float) -> None:
        """Reset all connections, and take none for a while."""
        self._open = seconds == 0
        for line in tuple(self._lines):
            line.cut()
        await asyncio.sleep(seconds)
        self._open = True

    async def stall(self, seconds: float) -> None:
        """Let nothing pass for a while."""
        self.flows.clear()
        await asyncio.sleep(seconds)
        self.flows.set()

    async def next_fetch(self, seconds_max: float) -> int | None:
        """The local port of the next client that fetches mails; None when none does within this time."""
        fetch = self._fetch
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(fetch), seconds_max)
            return fetch.result()
        return None

    def fetches(self, port: int) -> None:
        """Say that the client at this port fetches mails."""
        if not self._fetch.done():
            self._fetch.set_result(port)
        self._fetch = asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Take no connection any more and cut those there are."""
        if self._server is not None:
            self._server.close()
        for line in tuple(self._lines):
            line.cut()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)
        if not self._open:
            writer.transport.abort()
            return
        self._numbers += 1
        snag = None if self._calm else self._plan(self._numbers)
        try:
            server = await asyncio.open_connection(HOST, self._server_port)
        except OSError:  # it is being restarted
            writer.transport.abort()
            return
        line = _Line(self, snag, (writer, server[1]))
        self._lines.add(line)
        try:
            await line.run(reader, server[0])
        finally:
            line.cut()
            self._lines.discard(line)


class _Line:
    """One connection: two pumps that end together."""

    def __init__(
        self, wire: Wire, snag: Snag | None, writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    ) -> None:
        self.snag = snag
        self._wire = wire
        self._to_client, self._to_server = writers
        self._stalled = False
        self._left = 0 if snag is None else snag.count

    def cut(self) -> None:
        """End both sides at once."""
        self._to_client.transport.abort()
        self._to_server.transport.abort()

    async def run(self, from_client: asyncio.StreamReader, from_server: asyncio.StreamReader) -> None:
        """Until one side ends."""
        pumps = {
            asyncio.create_task(self._pump(from_client, self._to_server, upwards=True)),
            asyncio.create_task(self._pump(from_server, self._to_client, upwards=False)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upwards: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self._wire.flows.wait()
                chunk = self._hit(chunk, upwards=upwards)
                if chunk and not self._stalled:
                    writer.write(chunk)
                    await writer.drain()
                if self.snag is not None and self._left <= 0:
                    await self._happen(self.snag, chunk if upwards else b"", writer)

    def _hit(self, chunk: bytes, *, upwards: bool) -> bytes:
        """Count what the snag waits for; what still passes of the chunk."""
        if upwards and FETCH in chunk.upper():
            self._wire.fetches(self._to_client.get_extra_info("peername")[1])
        snag = self.snag
        if snag is None:
            return chunk
        if upwards and snag.verb and snag.verb in chunk.upper():
            self._left -= 1
            return chunk if self._left or snag.act in (Act.CUT_UNHEARD, Act.STALL_UNHEARD) else b""
        if not upwards and not snag.verb:
            passing = chunk[: self._left]
            self._left -= len(chunk)
            return passing
        return chunk

    async def _happen(self, snag: Snag, command: bytes, writer: asyncio.StreamWriter) -> None:
        self.snag = None
        self._wire.done[snag.act] += 1
        if command and snag.act in (Act.CUT_UNHEARD, Act.STALL_UNHEARD):
            self._stalled = True  # the answer must not pass
            await writer.drain()
            await asyncio.sleep(EXECUTED_SECONDS)
        self._stalled = True
        if snag.act in (Act.CUT, Act.CUT_UNHEARD):
            self.cut()
