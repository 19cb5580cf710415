"""A MailSink without a network, told by a RelayScript what to answer."""

import asyncio

from fakes.relay_script import RelayScript, TakenMail
from postlane.core.events.status import SmtpReply
from postlane.core.smtp.smtp_reply import read_reply
from postlane.core.smtp.transcript import Answer, Envelope, Lost, Phase, Transcript

_BEFORE_RECIPIENTS = (Phase.CONNECT, Phase.TLS, Phase.EHLO, Phase.AUTH, Phase.MAIL)


class MemorySink:
    """`taken` lists what arrived, in order; `attempts` counts calls of `send` that got so far as to be answered or lost."""

    def __init__(self, script: RelayScript | None = None, name: str = "memory") -> None:
        self.script = script or RelayScript()
        self.taken: list[TakenMail] = []
        self.attempts = 0
        self._name = name
        self._closing = asyncio.Event()

    async def send(self, envelope: Envelope, message: bytes) -> Transcript:
        """Answer as the script says."""
        await asyncio.sleep(0)
        self.attempts += 1
        if self._closing.is_set():
            return Transcript(relay=self._name, stopped=Lost(Phase.CONNECT, "Postlane is shutting down"))
        for phase in _BEFORE_RECIPIENTS:
            if stopped := await self._stop(phase):
                return Transcript(relay=self._name, stopped=stopped)
        refused = tuple(
            (address, _reply(Phase.RCPT, self.script.refused[address]))
            for address in envelope.recipients
            if address in self.script.refused
        )
        left = tuple(address for address in envelope.recipients if address not in self.script.refused)
        stopped = await self._stop(Phase.RCPT)
        if stopped or not left:
            return Transcript(relay=self._name, stopped=stopped, refused=refused)
        if stopped := await self._stop(Phase.DATA):
            return Transcript(relay=self._name, stopped=stopped, refused=refused)
        stopped = await self._stop(Phase.FINAL)
        if stopped is None or isinstance(stopped, Lost):
            self.taken.append(TakenMail(envelope.mail_from, left, message))
        accepted = _reply(Phase.FINAL, self.script.accepts) if stopped is None else None
        return Transcript(relay=self._name, stopped=stopped, refused=refused, accepted=accepted)

    async def close(self) -> None:
        """What hangs is lost; later mails are refused."""
        self._closing.set()

    async def _stop(self, phase: Phase) -> Answer | None:
        if self.script.hangs is phase:
            self.script.hanging.set()
            await self._closing.wait()
            return Lost(phase, "the relay closed the connection")
        if phase not in self.script.stops:
            return None
        line = self.script.stops[phase]
        return Lost(phase, "the relay closed the connection") if line is None else _reply(phase, line)


def _reply(phase: Phase, line: str) -> SmtpReply:
    return read_reply(phase, int(line[:3]), line[4:])
