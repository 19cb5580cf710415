"""The relay: takes SMTP mail as fast as asyncio allows, writes every acceptance down before it answers, misbehaves by seed.

    python -m chaos.sink --port P --journal FILE [--seed S --mails N]      (without a seed it never misbehaves)

SIGUSR1 is the cure: addresses that were refused until then are taken. SIGTERM ends it.
"""

import argparse
import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import cast

from chaos.acceptances import Acceptance, Cured
from chaos.faults import (
    CLOSING,
    GARBAGE,
    Act,
    Fault,
    Outage,
    Phase,
    connection_fault,
    mail_faults,
    outages,
)
from chaos.workload import DEAD, LATE, doom_of_recipient, doom_of_sender, mail_id_of_sender
from localstack.ports import HOST

DRIP_SECONDS = 0.4  # for a whole reply: slow, but within every timeout
EHLO = b"250-chaos.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES"
END_OF_CONTENT = b"\r\n.\r\n"


@dataclass(slots=True)
class Plan:
    """What goes wrong; `seed` None = nothing does."""

    seed: int | None
    outages: list[Outage]

    def connection_fault(self, number: int) -> Fault | None:
        """See chaos.faults."""
        return None if self.seed is None else connection_fault(self.seed, number)

    def mail_faults(self, mail_id: str) -> tuple[Fault, ...]:
        """See chaos.faults."""
        return () if self.seed is None else mail_faults(self.seed, mail_id)


class Relay:
    """What all connections share."""

    def __init__(self, plan: Plan, journal: Path) -> None:
        self.plan = plan
        self.cured = False
        self.down = False
        self.connections = 0
        self.accepted = 0
        self.attempts: Counter[str] = Counter()
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._server: asyncio.Server | None = None
        self._port = 0

    async def listen(self, port: int) -> None:
        """Take connections on this port, or on any free one for 0."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Conversation(self), HOST, port or self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.down = False

    def cure(self) -> None:
        """From now on take what was refused until the cure."""
        self.cured = True
        os.write(self._journal, Cured(time.time()).line())

    def refuses(self, doom: str) -> bool:
        """Whether an address or mail of this doom is refused for good."""
        return doom == DEAD or (doom == LATE and not self.cured)

    def next_fault(self, mail_id: str) -> Fault | None:
        """The fault of this mail's next attempt."""
        faults = self.plan.mail_faults(mail_id)
        attempt = self.attempts[mail_id]
        self.attempts[mail_id] += 1
        return faults[attempt] if attempt < len(faults) else None

    def take(self, acceptance: Acceptance) -> None:
        """Write it down; it may bring the next outage."""
        self.accepted += 1
        os.write(self._journal, acceptance.line())
        if self.plan.outages and self.accepted >= self.plan.outages[0].after_mails:
            outage = self.plan.outages.pop(0)
            self.down = True
            assert self._server is not None
            self._server.close()
            loop = asyncio.get_running_loop()
            loop.call_later(outage.seconds, lambda: loop.create_task(self.listen(0)))


class Conversation(asyncio.Protocol):
    """One connection."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._received = bytearray()
        self._in_content = False
        self._deaf = False
        self._client = ""
        self._sender = ""
        self._recipients: list[str] = []
        self._named = 0
        self._fault: Fault | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface without the base class
        self._transport = cast("asyncio.Transport", transport)
        self._relay.connections += 1
        self._opening_fault = self._relay.plan.connection_fault(self._relay.connections)
        self._answer(Phase.CONNECT, b"220 chaos.test ESMTP")

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._received += data
        while not self._deaf and self._advance():
            pass

    def _advance(self) -> bool:
        """Take the next line or the whole content, if it is there."""
        if self._in_content:
            return self._take_content()
        end = self._received.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._received[:end])
        del self._received[: end + 2]
        self._obey(line)
        return True

    def _obey(self, line: bytes) -> None:
        if self._relay.down:
            self._say(CLOSING)
            self._end()
            return
        verb, _, rest = line.decode("utf-8", "replace").partition(" ")
        match verb.upper():
            case "EHLO":
                self._client = rest
                self._answer(Phase.EHLO, EHLO)
            case "MAIL":
                self._begin(_path(rest))
            case "RCPT":
                self._name(_path(rest))
            case "DATA":
                self._data()
            case "RSET":
                self._say(b"250 2.0.0 ok")
            case "QUIT":
                self._say(b"221 2.0.0 bye")
                self._end()
            case _:
                self._say(b"502 5.5.1 chaos does not know that")

    # The commands of a mail

    def _begin(self, sender: str) -> None:
        self._sender, self._recipients, self._named = sender, [], 0
        self._fault = self._relay.next_fault(mail_id_of_sender(sender))
        self._answer(Phase.MAIL, self._refusal("mail") or b"250 2.1.0 ok")

    def _name(self, recipient: str) -> None:
        index = self._named
        self._named += 1
        fault = self._fault
        if self._relay.refuses(doom_of_recipient(recipient)):
            self._say(b"550 5.1.1 chaos knows no such recipient")
        elif fault is not None and fault.phase is Phase.RCPT and fault.recipient == index:
            self._recipients += [recipient] if fault.act is Act.DRIP else []
            self._answer(Phase.RCPT, b"250 2.1.5 ok")
        else:
            self._recipients.append(recipient)
            self._say(b"250 2.1.5 ok")

    def _data(self) -> None:
        refusal = self._refusal("data")
        if refusal is None and not self._recipients:
            refusal = b"503 5.5.1 no recipients"
        if self._answer(Phase.DATA, refusal or b"354 go on") and refusal is None:
            self._in_content = True

    def _take_content(self) -> bool:
        if self._fault is not None and self._fault.phase is Phase.CONTENT:
            self._act(self._fault, b"")
            return False
        end = self._received.find(END_OF_CONTENT)
        if end < 0:
            return False
        content = bytes(self._received[:end])
        del self._received[: end + len(END_OF_CONTENT)]
        self._in_content = False
        self._finish(content)
        return True

    def _finish(self, content: bytes) -> None:
        fault = self._fault if self._fault is not None and self._fault.phase is Phase.FINAL else None
        refusal = self._refusal("final")
        if refusal is None and (fault is None or fault.accepted or fault.act is Act.DRIP):
            self._relay.take(self._acceptance(content, confirmed=fault is None or not fault.hides_acceptance))
        self._answer(Phase.FINAL, refusal or b"250 2.0.0 Ok: queued as %d" % self._relay.accepted)

    def _acceptance(self, content: bytes, *, confirmed: bool) -> Acceptance:
        return Acceptance(
            number=self._relay.accepted + 1,
            at=time.time(),
            mail_id=mail_id_of_sender(self._sender),
            subject=_subject(content),
            recipients=tuple(self._recipients),
            digest=blake2b(content, digest_size=8).hexdigest(),
            confirmed=confirmed,
            sender=self._client,
        )

    def _refusal(self, phase: str) -> bytes | None:
        doom, at = doom_of_sender(self._sender)
        if at == phase and self._relay.refuses(doom):
            return b"554 5.6.0 chaos refuses this mail for good"
        return None

    # Answers, right and wrong

    def _answer(self, phase: Phase, reply: bytes) -> bool:
        """Say it, unless a fault of this phase has another idea; whether it was said."""
        early = phase in (Phase.CONNECT, Phase.EHLO)
        fault = self._opening_fault if early else self._fault
        if fault is None or fault.phase is not phase or reply.startswith(b"5"):
            self._say(reply)
            return True
        return self._act(fault, reply)

    def _act(self, fault: Fault, reply: bytes) -> bool:
        match fault.act:
            case Act.REPLY:
                self._say(fault.reply)
                if fault.reply.startswith(b"421"):
                    self._end()
            case Act.CUT:
                self._deaf = True
                self._transport.abort()
            case Act.HANG:
                self._deaf = True
            case Act.GARBAGE:
                self._say(GARBAGE)
            case Act.DRIP:
                self._drip_bytes(reply + b"\r\n", DRIP_SECONDS / (len(reply) + 2))
                return True
        return False

    def _say(self, line: bytes) -> None:
        self._transport.write(line + b"\r\n")

    def _drip_bytes(self, left: bytes, pause_seconds: float) -> None:
        if left and not self._transport.is_closing():
            self._transport.write(left[:1])
            asyncio.get_running_loop().call_later(pause_seconds, self._drip_bytes, left[1:], pause_seconds)

    def _end(self) -> None:
        self._deaf = True
        self._transport.close()


def _path(words: str) -> str:
    return words.partition("<")[2].partition(">")[0]


def _subject(content: bytes) -> str:
    start = content.find(b"\r\nSubject: ")
    return content[start + 11 :].partition(b"\r\n")[0].decode("utf-8", "replace") if start >= 0 else ""


async def _serve(port: int, relay: Relay) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    loop.add_signal_handler(signal.SIGUSR1, relay.cure)
    await relay.listen(port)
    await over.wait()


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="chaos.sink", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--mails", type=int, default=0)
    options = parser.parse_args()
    planned = [] if options.seed is None else outages(options.seed, options.mails)
    relay = Relay(Plan(options.seed, planned), options.journal)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(options.port, relay))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop  # noqa: PLC0415 - the outbound extra brings it everywhere but on Windows

    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
