"""A real SMTP server on loopback that behaves as a RelayScript says."""

import asyncio

from fakes.bearer_guard import CHALLENGE, BearerGuard
from fakes.relay_script import RelayScript, TakenMail
from postlane.core.smtp.transcript import Phase


class _Cut(Exception):
    """The script wants the connection gone."""


class ScriptedRelay:
    """One server; `taken` lists what arrived, `greeted_as` the names in EHLO, `sessions` counts connections.

    With a `guard` nobody sends without a token that it lets in. While `judges` is cleared, a final dot waits for its answer, while `lets_go` is, a QUIT.
    """

    def __init__(self, script: RelayScript | None = None, guard: BearerGuard | None = None) -> None:
        self.script = script or RelayScript()
        self.guard = guard
        self.taken: list[TakenMail] = []
        self.greeted_as: list[str] = []
        self.sessions = 0
        self.open_at_once_max = 0
        self.goodbyes = 0
        self.judges, self.lets_go = asyncio.Event(), asyncio.Event()
        self.judges.set()
        self.lets_go.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def open_now(self) -> int:
        """How many connections stand."""
        return len(self._writers)

    async def start(self) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Cut everything."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        self._writers.add(writer)
        self.open_at_once_max = max(self.open_at_once_max, len(self._writers))
        try:
            await _Session(self, reader, writer).run()
        except (_Cut, OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            writer.close()


class _Session:
    def __init__(
        self, relay: ScriptedRelay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.relay = relay
        self.reader = reader
        self.writer = writer
        self.mail_from = ""
        self.recipients: list[str] = []
        self.known = relay.guard is None

    async def run(self) -> None:
        await self.say(await self.answer(Phase.CONNECT, "220 relay.example ESMTP"))
        while True:
            line = (await self.reader.readuntil(b"\r\n")).decode().rstrip("\r\n")
            verb = line.upper()
            if verb == "QUIT":
                self.relay.goodbyes += 1
                await self.relay.lets_go.wait()
                await self.say("221 2.0.0 Bye")
                return
            if verb.startswith("DATA"):
                await self.take_content()
            else:
                await self.say(await self.reply_to(line, verb))

    async def reply_to(self, line: str, verb: str) -> str:
        match verb.partition(" ")[0]:
            case "EHLO":
                self.relay.greeted_as.append(line.partition(" ")[2])
                offer = "" if self.relay.guard is None else f"250-{self.relay.guard.offer}\r\n"
                words = f"250-relay.example\r\n{offer}250-8BITMIME\r\n250 SMTPUTF8"
                return await self.answer(Phase.EHLO, words)
            case "AUTH" if self.relay.guard is not None:
                return await self.log_in(self.relay.guard, line)
            case "RSET":
                return "250 2.0.0 Ok"
            case "MAIL" | "RCPT" if self.known:
                return await self.take_address(line, verb)
            case "MAIL" | "RCPT":
                return "530 5.7.0 Authentication required"
            case _:
                return "500 5.5.2 What?"

    async def take_address(self, line: str, verb: str) -> str:
        address = line.partition("<")[2].partition(">")[0]
        if verb.startswith("MAIL"):
            self.mail_from, self.recipients = address, []
            return await self.answer(Phase.MAIL, "250 2.1.0 Ok")
        if address in self.relay.script.refused:
            return self.relay.script.refused[address]
        reply = await self.answer(Phase.RCPT, "250 2.1.5 Ok")
        self.recipients.append(address)
        return reply

    async def log_in(self, guard: BearerGuard, line: str) -> str:
        _, mechanism, initial = line.split(" ")
        if mechanism not in guard.mechanisms:
            return "504 5.5.4 Unknown mechanism"
        self.known = guard.lets_in(mechanism, initial)
        if not self.known:
            await self.say(f"334 {CHALLENGE}")
            answer = (await self.reader.readuntil(b"\r\n")).decode().rstrip("\r\n")
            guard.answered.append((mechanism, answer))
            return f"535 5.7.8 Not accepted: {line}"  # repeating what nobody should see
        return await self.answer(Phase.AUTH, "235 2.7.0 Accepted")

    async def take_content(self) -> None:
        go = await self.answer(Phase.DATA, "354 End data with <CR><LF>.<CR><LF>")
        await self.say(go)
        if not go.startswith("354"):
            return
        lines: list[bytes] = []
        while (line := await self.reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        mail = TakenMail(self.mail_from, tuple(self.recipients), b"".join(lines))
        script = self.relay.script
        if Phase.FINAL not in script.stops or script.stops[Phase.FINAL] is None:
            self.relay.taken.append(mail)
        await self.relay.judges.wait()
        await self.say(await self.answer(Phase.FINAL, script.accepts))

    async def answer(self, phase: Phase, usual: str) -> str:
        script = self.relay.script
        if script.hangs is phase:
            script.hanging.set()
            await self.reader.read()  # until the client gives up
            raise _Cut
        line = script.stops.get(phase, usual)
        if line is None:
            raise _Cut
        return line

    async def say(self, line: str) -> None:
        self.writer.write(line.encode() + b"\r\n")
        await self.writer.drain()
