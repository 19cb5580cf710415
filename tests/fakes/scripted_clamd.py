"""A clamd that answers as a test tells it, over a Unix socket; what it was sent is kept."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

Answer = Callable[["ScriptedClamd", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ScriptedClamd:
    """`answer` deals with each connection."""

    address: str
    answer: Answer
    contents: list[bytes] = field(default_factory=list)
    connections: int = 0
    now: int = 0
    at_once: int = 0

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """The command and the whole content (clamd(8), INSTREAM)."""
        assert await reader.readuntil(b"\0") == b"zINSTREAM\0"
        content = b""
        while size := struct.unpack(">I", await reader.readexactly(4))[0]:
            content += await reader.readexactly(size)
        self.contents.append(content)
        return content


def says(reply: bytes) -> Answer:
    """Read everything, then this."""

    async def answer(
        clamd: ScriptedClamd, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await clamd.read(reader)
        writer.write(reply)
        await writer.drain()

    return answer


async def falls_silent(
    _clamd: ScriptedClamd, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter
) -> None:
    """Read for ever, say nothing."""
    while await reader.read(65_536):
        pass


@contextlib.asynccontextmanager
async def scripted_clamd(folder: Path, answer: Answer) -> AsyncIterator[ScriptedClamd]:
    """Listen for the length of the block."""
    clamd = ScriptedClamd(str(folder / "clamd.sock"), answer)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clamd.connections += 1
        clamd.now += 1
        clamd.at_once = max(clamd.at_once, clamd.now)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await clamd.answer(clamd, reader, writer)
        clamd.now -= 1
        writer.close()

    server = await asyncio.start_unix_server(serve, clamd.address)
    try:
        yield clamd
    finally:
        server.close()
