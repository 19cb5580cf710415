"""One SMTP session: mail after mail over one connection, answer by answer.

What a relay or the network does is returned, not raised. aiosmtplib's own `sendmail` is not used: it hides which phase an answer belongs
to, and whether the connection broke before or after the final dot.
"""

import asyncio

from aiosmtplib import SMTPResponse, SMTPTimeoutError
from aiosmtplib.protocol import SMTPProtocol

from postlane.adapters.smtp_link import FAULTS, SmtpLink, Stopped
from postlane.core.events.status import SmtpReply
from postlane.core.smtp.smtp_terms import FINAL_DOT, as_data, foreseen_refusal, mail_parameters
from postlane.core.smtp.transcript import Answer, Envelope, Lost, Phase, Transcript

UPLOAD_BYTES = 65536  # larger content may not fit the socket's buffer at once, so its progress is watched
UPLOAD_LOOK_SECONDS = 0.05
CLOSING = 421  # the relay ends the session whatever was asked (RFC 5321 section 3.8)


class SmtpSession:
    """A session over `link` to the relay `name`, used by one mail at a time. `mails` counts the attempts made in it."""

    def __init__(self, name: str, link: SmtpLink) -> None:
        self.mails = 0
        self._name = name
        self._link = link
        self._in_transaction = False

    @property
    def alive(self) -> bool:
        """Whether the connection stands, as far as this side knows."""
        return self._link.alive

    async def open(self) -> Answer | None:
        """Connect, encrypt, log in; the answer that forbids it, if any."""
        try:
            await self._link.open()
        except Stopped as stop:
            self.cut()
            return stop.answer
        return None

    async def send(self, envelope: Envelope, message: bytes) -> Transcript:
        """Make one attempt."""
        self.mails += 1
        refused: list[tuple[str, Answer]] = []
        stopped: Answer | None = None
        accepted: SmtpReply | None = None
        try:
            await self._begin(envelope, message)
            if await self._name_recipients(envelope, refused):
                accepted = await self._transfer(message)
        except Stopped as stop:
            stopped = stop.answer
            if isinstance(stopped, Lost):
                self.cut()
        return Transcript(relay=self._name, stopped=stopped, refused=tuple(refused), accepted=accepted)

    async def quit(self) -> None:
        """Say goodbye, then close."""
        await self._link.quit()

    def cut(self) -> None:
        """Drop the connection at once; an attempt in it ends with Lost."""
        self._link.cut()

    async def _begin(self, envelope: Envelope, message: bytes) -> None:
        if self._in_transaction:
            response = await self._link.execute(Phase.MAIL, b"RSET")
            if not 200 <= response.code <= 299:
                raise Stopped(Lost(Phase.MAIL, f"the relay refuses RSET: {response.code}"))
            self._in_transaction = False
        parameters = mail_parameters(self._link.extensions, envelope, message)
        if isinstance(parameters, SmtpReply):
            raise Stopped(parameters)
        path = b"FROM:<" + envelope.mail_from.encode() + b">"
        await self._link.demand(Phase.MAIL, b"MAIL", path, *parameters)
        self._in_transaction = True

    async def _name_recipients(self, envelope: Envelope, refused: list[tuple[str, Answer]]) -> bool:
        """RCPT for each, noting refusals; whether any was taken."""
        for recipient in envelope.recipients:
            answer: Answer | None = foreseen_refusal(self._link.extensions, recipient)
            if answer is None:
                try:
                    await self._link.demand(Phase.RCPT, b"RCPT", b"TO:<" + recipient.encode() + b">")
                except Stopped as stop:
                    if isinstance(stop.answer, Lost) or stop.answer.code == CLOSING:
                        raise
                    answer = stop.answer
            if answer is not None:
                refused.append((recipient, answer))
        return len(refused) < len(envelope.recipients)

    async def _transfer(self, message: bytes) -> SmtpReply:
        """DATA, the content, the final dot; the relay's acceptance."""
        start = await self._link.execute(Phase.DATA, b"DATA")
        if start.code != 354:
            raise Stopped(self._link.refusal(Phase.DATA, start))
        self._in_transaction = False
        upload = _Upload(self._link, as_data(message))
        try:
            response = await upload.run()
        except FAULTS as error:
            raise Stopped(self._link.lost(upload.phase, error)) from None
        if upload.phase is Phase.FINAL and 200 <= response.code <= 299:
            return self._link.reply(Phase.FINAL, response)
        if upload.phase is Phase.DATA:
            self.cut()  # answered before it had everything: the rest would be read as commands
        raise Stopped(self._link.refusal(upload.phase, response))


class _Upload:
    """The way of the content; `phase` is FINAL once the final dot may have left this process."""

    def __init__(self, link: SmtpLink, content: bytes) -> None:
        self.phase = Phase.DATA
        self._link = link
        self._content = content

    async def run(self) -> SMTPResponse:
        """Write and wait for the answer. Raises what aiosmtplib and the network raise."""
        protocol, transport = self._link.wires()
        if len(self._content) > UPLOAD_BYTES:
            return await self._run_watched(protocol, transport)
        protocol.write(self._content + FINAL_DOT)
        self.phase = Phase.FINAL
        return await protocol.read_response(timeout=self._link.timeout_seconds)

    async def _run_watched(self, protocol: SMTPProtocol, transport: asyncio.WriteTransport) -> SMTPResponse:
        """A long transfer: the relay is heard meanwhile, and the dot is held back until all before it is on its way."""
        answer = asyncio.ensure_future(protocol.read_response())
        answer.add_done_callback(_noticed)
        try:
            await asyncio.sleep(0)  # the reader listens before there is anything to answer
            protocol.write(self._content)
            await self._written(transport, answer)
            if not answer.done():
                protocol.write(FINAL_DOT)
                self.phase = Phase.FINAL
            return await asyncio.wait_for(answer, self._link.timeout_seconds)
        finally:
            answer.cancel()

    async def _written(self, transport: asyncio.WriteTransport, answer: asyncio.Future[SMTPResponse]) -> None:
        """Wait until nothing is left in this process, or the relay answers early. The timeout is for progress, not for the whole."""
        clock = asyncio.get_running_loop().time
        left, moved_at = transport.get_write_buffer_size(), clock()
        while left and not answer.done():
            await asyncio.wait({answer}, timeout=UPLOAD_LOOK_SECONDS)
            before, left = left, transport.get_write_buffer_size()
            if left < before:
                moved_at = clock()
            elif clock() - moved_at > self._link.timeout_seconds:
                raise SMTPTimeoutError("the relay stopped reading")


def _noticed(answer: asyncio.Future[SMTPResponse]) -> None:
    """A fault that comes when nobody waits any more is none worth a warning of asyncio's."""
    if not answer.cancelled():
        answer.exception()
