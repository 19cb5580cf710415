"""What one SMTP attempt was told: facts without judgement (core.smtp.attempt judges them)."""

from dataclasses import dataclass
from enum import StrEnum

from postlane.core.events.status import SmtpReply


class Phase(StrEnum):
    """Where in the SMTP dialogue something was said (RFC 5321 3)."""

    CONNECT = "connect"
    TLS = "tls"
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Envelope:
    """The SMTP envelope: reverse-path (empty for `<>`) and the recipients still to be served, in order."""

    mail_from: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """No reply: the connection broke, timed out or made no sense in this phase. `error` is one line, free of secrets."""

    phase: Phase
    error: str


Answer = SmtpReply | Lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The answers that decide an attempt.

    `stopped` is the answer that ended it before or outside the recipients (connect, TLS, EHLO, AUTH, MAIL, DATA or final dot), or None when
    the final dot was accepted. `refused` holds the answer to each RCPT that was not 2xx. `accepted` is the 2xx reply to the
    final dot. With every recipient refused both `stopped` and `accepted` are None.
    """

    relay: str
    stopped: Answer | None = None
    refused: tuple[tuple[str, Answer], ...] = ()
    accepted: SmtpReply | None = None
