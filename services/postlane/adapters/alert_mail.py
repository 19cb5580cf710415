"""Alerts by mail, over an account of their own; answers to them are not wanted and not provoked (RFC 3834)."""

from email.utils import format_datetime
from typing import assert_never

from postlane.adapters.notice_channel import Away, Outcome, Refused, Told
from postlane.adapters.relay_tls import verifying_tls
from postlane.adapters.smtp_sink import SmtpSink
from postlane.config.notify_section import NotifyMailSection
from postlane.config.sections import Tls
from postlane.core.alerts.notice import Notice, headline, text
from postlane.core.events.mail import Address
from postlane.core.events.status import SmtpReply
from postlane.core.instants import moment
from postlane.core.smtp.attempt import describe
from postlane.core.smtp.transcript import Answer, Envelope, Lost, Transcript
from postlane.core.writing.mime_write import address_field, id_field, text_field, text_part


class AlertMail:
    """The mailbox of `[notify.mail]`. Raises ConfigError for a certificate file that cannot be used."""

    name = "mail"

    def __init__(self, section: NotifyMailSection) -> None:
        self._section = section
        if section.tls is not Tls.NONE:
            verifying_tls("notify.mail.ca_file", section.ca_file)  # the sink would name another key
        self._sink = SmtpSink("notify.mail", section.as_relay())

    async def tell(self, notice: Notice) -> Outcome:
        """See NoticeChannel."""
        envelope = Envelope(self._section.sender, self._section.recipients)
        return _outcome(await self._sink.send(envelope, self._message(notice)))

    async def close(self) -> None:
        """See NoticeChannel."""
        await self._sink.close()

    def _message(self, notice: Notice) -> bytes:
        """The same bytes at each try. Reminders and the end answer the first mail, so that mailers show them together."""
        domain = self._section.sender.rpartition("@")[2]
        thread = f"<alert.{notice.fingerprint}.{notice.raised_at * 1000:.0f}@{domain}>"
        fields = [
            address_field("From", [Address(address=self._section.sender, name="Postlane")]),
            address_field("To", [Address(address=address) for address in self._section.recipients]),
            text_field("Subject", headline(notice)),
            f"Date: {format_datetime(moment(notice.at))}",
            id_field("Message-ID", [f"<alert.{notice.id}@{domain}>"]),
            id_field("References", [thread]),
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
        ]
        return "".join(f"{field}\r\n" for field in fields).encode() + text_part("plain", text(notice))


def _outcome(transcript: Transcript) -> Outcome:
    refused = "; ".join(f"{address}: {describe(answer)}" for address, answer in transcript.refused)
    if transcript.accepted is not None:
        return Told(refused)
    if transcript.stopped is not None:
        words, answers = describe(transcript.stopped), [transcript.stopped]
    else:
        words, answers = refused, [answer for _, answer in transcript.refused]
    return Away(words) if any(map(_passes, answers)) else Refused(words)


def _passes(answer: Answer) -> bool:
    """Whether the next try may end otherwise."""
    match answer:
        case Lost():
            return True
        case SmtpReply():
            return answer.code < 500
        case _:
            assert_never(answer)
