r"""Plays an SMTP conversation from a text file against whoever connects.

# a comment
relay: tls = "starttls"              TOML of the relay's configuration, one key per line
mail: recipients = ["a@x.example"]   TOML of the mail that is sent; also sender, bytes, utf8_header
S: 220 relay.example ESMTP           the server says this line
C: MAIL FROM:<desk@example.com>*     the client must say this; * stands for anything
C: <content>                         the client sends content up to the final dot
<connection>                         the next connection starts here
<cut> <reset> <hang>                 the server closes, resets, or says nothing until the client gives up
<drip>                               from here on the server's lines come byte by byte
<starttls>                           the TLS handshake
<raw> \x00\r\n                      the server says these bytes
=> delivered a@x.example             what the attempt must be judged to mean, one block for each mail, parted by `=> next`
"""

import asyncio
import fnmatch
import ssl
import struct
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

ACTIONS = ("<raw>", "<read>", "<drip>", "<hang>", "<stall>", "<cut>", "<reset>", "<starttls>")


@dataclass(slots=True)
class Dialog:
    """A conversation file, read."""

    name: str
    relay: dict[str, Any]
    mail: dict[str, Any]
    connections: list[list[str]] = field(default_factory=lambda: [[]])
    expected: list[list[str]] = field(default_factory=lambda: [[]])


def read_dialog(path: Path) -> Dialog:
    """Read a conversation file. Raises ValueError for a line that means nothing."""
    lines = path.read_text(encoding="utf-8").splitlines()

    def settings(prefix: str) -> dict[str, Any]:
        return tomllib.loads("\n".join(line[len(prefix) :] for line in lines if line.startswith(prefix)))

    dialog = Dialog(path.stem, settings("relay:"), settings("mail:"))
    for line in lines:
        if not line or line.startswith(("#", "relay:", "mail:")):
            continue
        if line == "<connection>":
            dialog.connections.append([])
        elif line == "=> next":
            dialog.expected.append([])
        elif line.startswith("=> "):
            dialog.expected[-1].append(line[3:])
        elif line.startswith(("S: ", "C: ")) or line.partition(" ")[0] in ACTIONS:
            dialog.connections[-1].append(line)
        else:
            raise ValueError(f"{path.name}: {line!r} means nothing")
    return dialog


class ScriptedSmtp:
    """The server's side of a dialog; `faults` lists what the client said that it should not have."""

    def __init__(self, dialog: Dialog, tls: ssl.SSLContext | None = None) -> None:
        self.faults: list[str] = []
        self.heard: list[str] = []
        self.content: list[bytes] = []
        self._dialog = dialog
        self._tls = tls
        self._played = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen; the port."""
        implicit = self._tls if self._dialog.relay.get("tls") == "implicit" else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=implicit)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """End all conversations; those not held yet are faults."""
        left = len([steps for steps in self._dialog.connections if steps]) - self._played
        if left:
            self.faults.append(f"{left} connections were never made")
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = self._played
        self._played += 1
        try:
            if number >= len(self._dialog.connections):
                self.faults.append("one connection more than the dialog has")
                return
            talk = _Talk(self, reader, writer)
            for step in self._dialog.connections[number]:
                await talk.play(step, self._tls)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, which its judgement will show, or the test is over
        finally:
            writer.transport.abort()


class _Talk:
    def __init__(
        self, server: ScriptedSmtp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.dripping = False

    async def play(self, step: str, tls: ssl.SSLContext | None) -> None:
        match step.partition(" "):
            case ("S:", _, line):
                await self.say(line.encode() + b"\r\n")
            case ("C:", _, "<content>"):
                await self.take_content()
            case ("C:", _, pattern):
                await self.hear(pattern)
            case ("<starttls>", _, _):
                assert tls is not None
                await self.writer.start_tls(tls)
            case (other, _, text):
                await self.misbehave(other, text)

    async def misbehave(self, step: str, text: str) -> None:
        match step:
            case "<raw>":
                await self.say(text.encode().decode("unicode_escape").encode("latin-1"))
            case "<read>":
                await self.reader.readexactly(int(text))
            case "<drip>":
                self.dripping = True
            case "<hang>":
                await self.reader.read()
            case "<cut>":
                self.writer.close()
                await self.reader.read()
            case "<stall>":
                self.writer.transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.Event().wait()
            case "<reset>":
                linger = struct.pack("ii", 1, 0)  # close() then sends RST
                self.writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
                self.writer.transport.abort()

    async def say(self, words: bytes) -> None:
        for part in [words[n : n + 1] for n in range(len(words))] if self.dripping else [words]:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def hear(self, pattern: str) -> None:
        line = (await self.reader.readuntil(b"\r\n")).decode().rstrip("\r\n")
        self.server.heard.append(line)
        literal = pattern.replace("[", "[[]").replace("?", "[?]")
        if not fnmatch.fnmatchcase(line, literal):
            self.server.faults.append(f"heard {line!r} instead of {pattern!r}")

    async def take_content(self) -> None:
        lines: list[bytes] = []
        while (line := await self.reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        self.server.content.append(b"".join(lines))
