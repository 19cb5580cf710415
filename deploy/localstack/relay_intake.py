"""What becomes of a mail that the relay takes: passed on byte for byte, then remembered."""

import asyncio
import contextlib
import hashlib
import logging
import smtplib
import time
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from localstack.ports import HOST
from localstack.relay_journal import AcceptedMail, RelayJournal
from localstack.relay_policy import RelayPolicy

LOG = logging.getLogger("localstack.relay")
HOST_NAME = "relay.localstack.test"
SUBSTITUTE_SENDER = "empty-sender@relay.localstack.test"  # GreenMail answers 503 at DATA after MAIL FROM:<>
FORWARD_TIMEOUT_SECONDS = 30.0


@dataclass(slots=True)
class Relay:
    """Rules, memory and the way on; shared by all sessions."""

    forward_port: int | None = None  # None = take mail and pass it nowhere
    credentials: tuple[str, str] | None = None
    policy: RelayPolicy = field(default_factory=RelayPolicy)
    journal: RelayJournal = field(default_factory=RelayJournal)
    _accepting: set[asyncio.Task[str]] = field(default_factory=set)

    async def accept(self, connection: int, envelope: Envelope) -> str:
        """Pass the mail on, record it and return the reply; finished even if the client hangs up meanwhile."""
        task = asyncio.create_task(self._accept(connection, envelope))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
        return await asyncio.shield(task)

    async def _accept(self, connection: int, envelope: Envelope) -> str:
        raw = envelope.content
        assert isinstance(raw, bytes)
        if self.forward_port is not None:
            try:
                await asyncio.to_thread(forward, self.forward_port, envelope, raw)
            except (OSError, smtplib.SMTPException) as error:
                LOG.warning("not passed on: %s", error)
                return "451 4.3.0 Mailbox server temporarily unavailable"
        message_id, subject = _headers(raw)
        mail = AcceptedMail(
            sequence=self.journal.taken + 1,
            at=time.time(),
            connection=connection,
            sender=plain_sender(envelope),
            recipients=tuple(envelope.rcpt_tos),
            message_id=message_id,
            subject=subject,
            sha256=hashlib.sha256(raw).hexdigest(),
            size_bytes=len(raw),
        )
        self.journal.add_accepted(mail, raw)
        self.policy.count_accepted()
        return f"250 2.0.0 Ok: queued as {mail.sequence}"

    def check_login(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: object
    ) -> AuthResult:
        if self.credentials is None or not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        user, password = self.credentials
        right = data.login == user.encode() and data.password == password.encode()
        return AuthResult(success=right, handled=False)


def plain_sender(envelope: Envelope) -> str:
    """The sender without aiosmtpd's spelling of the empty one, "<>"."""
    sender = envelope.mail_from or ""
    return "" if sender == "<>" else sender


def forward(port: int, envelope: Envelope, raw: bytes) -> None:
    """Hand the bytes to GreenMail as they are. Raises OSError or SMTPException."""
    with smtplib.SMTP(HOST, port, local_hostname=HOST_NAME, timeout=FORWARD_TIMEOUT_SECONDS) as client:
        client.ehlo()
        options = ["SMTPUTF8"] if envelope.smtp_utf8 else []
        _expect(250, client.mail(plain_sender(envelope) or SUBSTITUTE_SENDER, options))
        for recipient in envelope.rcpt_tos:
            _expect(250, client.rcpt(recipient))
        _expect(250, client.data(raw))


def _expect(code: int, reply: tuple[int, bytes]) -> None:
    if reply[0] != code:
        raise smtplib.SMTPResponseException(reply[0], reply[1].decode("utf-8", "replace"))


def _headers(raw: bytes) -> tuple[str, str]:
    """Message-ID and subject, for people to read; whatever a mail holds, it is not the relay's to refuse."""
    headers = BytesHeaderParser().parsebytes(raw)
    subject = str(headers.get("Subject", ""))
    with contextlib.suppress(ValueError, LookupError, HeaderParseError):  # an unknown or broken encoding
        subject = str(make_header(decode_header(subject)))
    return str(headers.get("Message-ID", "")).strip(), subject
