"""An IMAP server that says what a test tells it to; for the moments that no real server offers on demand."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Generator

Dialog = Generator[bytes, str, None]
Reply = Callable[[str, str], bytes | Dialog | None]

CAPABILITIES = b"* CAPABILITY IMAP4rev1 IDLE MOVE UIDPLUS\r\n"


class ScriptedImap:
    """Answers by the first matching rule: `rules[word]` gets the tag and the whole command, None = hang up.

    A rule may be a generator: what it yields is sent, and while that begins with `+` it gets the line that comes next. Rules may be replaced while it runs.
    `port` is where it listens; `commands` is what it heard, without tags, `lines` what generators got; `greeting` b"" says nothing.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.greeting = b"* OK ready\r\n"
        self.commands: list[str] = []
        self.lines: list[str] = []
        self.sessions = 0
        self.rules: dict[str, Reply] = {
            "CAPABILITY": lambda tag, _: CAPABILITIES + ok(tag),
            "LOGIN": lambda tag, _: ok(tag),
            "SELECT": lambda tag, _: (
                b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4] x\r\n" + ok(tag)
            ),
            "LOGOUT": lambda tag, _: b"* BYE\r\n" + ok(tag),
            "NOOP": lambda tag, _: ok(tag),
            "LIST": lambda tag, _: b'* LIST (\\Noselect) "/" ""\r\n' + ok(tag),
        }
        self._tls = tls
        self._writers: set[asyncio.StreamWriter] = set()
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

    def push(self, data: bytes) -> None:
        """Say this to everybody who is there."""
        for writer in self._writers:
            writer.write(data)

    def hang_up(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(writer)
        self.sessions += 1
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError, ssl.SSLError, ValueError):
            pass  # the client has gone, or the test is over
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.greeting)
        while line := await reader.readline():
            tag, _, command = line.decode().rstrip("\r\n").partition(" ")
            self.commands.append(command)
            rule = next((rule for word, rule in self.rules.items() if word in command), None)
            answer = b"" if rule is None else rule(tag, command)
            if answer is None:
                return
            if isinstance(answer, Generator):
                await self._converse(answer, reader, writer)
                continue
            writer.write(answer)
            await writer.drain()
            if command == "STARTTLS" and self._tls is not None:
                await writer.start_tls(self._tls)

    async def _converse(
        self, dialog: Dialog, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Until the generator says something that ends the command."""
        said = next(dialog)
        while True:
            writer.write(said)
            if not said.startswith(b"+"):
                return
            line = (await reader.readline()).decode().rstrip("\r\n")
            self.lines.append(line)
            said = dialog.send(line)


def ok(tag: str) -> bytes:
    """The tagged line of success."""
    return f"{tag} OK done\r\n".encode()
