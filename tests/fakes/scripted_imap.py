"""An IMAP server that says what a test tells it to; for the moments that no real server offers on demand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

Reply = Callable[[str, str], bytes | None]

CAPABILITIES = b"* CAPABILITY IMAP4rev1 IDLE MOVE UIDPLUS\r\n"


class ScriptedImap:
    """Answers by the first matching rule: `rules[word]` gets the tag and the whole command, None = hang up.

    Rules may be replaced while it runs. `port` is where it listens; `commands` is what it heard, without tags.
    """

    def __init__(self) -> None:
        self.port = 0
        self.commands: list[str] = []
        self.rules: dict[str, Reply] = {
            "CAPABILITY": lambda tag, _: CAPABILITIES + ok(tag),
            "LOGIN": lambda tag, _: ok(tag),
            "SELECT": lambda tag, _: (
                b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4] x\r\n" + ok(tag)
            ),
            "LOGOUT": lambda tag, _: b"* BYE\r\n" + ok(tag),
        }
        self._connections: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["ScriptedImap"]:
        """Listen for the length of the block."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK ready\r\n")
        while line := await reader.readline():
            tag, _, command = line.decode().rstrip("\r\n").partition(" ")
            self.commands.append(command)
            rule = next((rule for word, rule in self.rules.items() if word in command), None)
            answer = b"" if rule is None else rule(tag, command)
            if answer is None:
                return
            writer.write(answer)
            await writer.drain()


def ok(tag: str) -> bytes:
    """The tagged line of success."""
    return f"{tag} OK done\r\n".encode()
