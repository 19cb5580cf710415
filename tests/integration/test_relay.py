"""The front relay before a real GreenMail, spoken to with smtplib and imaplib."""

import hashlib
import imaplib
import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from localstack.greenmail import Mailbox, MailServer
from localstack.relay_client import ControlError, RelayControl, WaitedInVainError
from localstack.relay_policy import Act, Fault, Phase, Quota

NewMailbox = Callable[[str], Mailbox]

CLIENT_TIMEOUT_SECONDS = 20.0
IMPATIENT_SECONDS = 0.3
TRY_LATER = "451 4.3.0 Try later"
RAW = (
    b"From: desk@desk.test\r\nTo: box@desk.test\r\nMessage-ID: <one@desk.test>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b".a line with a dot\r\n..two\r\n\r\nGr\xc3\xbc\xc3\x9fe  \r\n.\x20\r\n" + b"x" * 990 + b"\r\nend\r\n"
)


@contextmanager
def client(relay: RelayControl, timeout_seconds: float = CLIENT_TIMEOUT_SECONDS) -> Iterator[smtplib.SMTP]:
    """A client that is logged in."""
    connection = smtplib.SMTP(relay.host, relay.port, "client.test", timeout_seconds)
    try:
        connection.ehlo()
        connection.user, connection.password = str(relay.user), str(relay.password)
        connection.auth(
            "PLAIN", connection.auth_plain
        )  # login() would go on to another mechanism after a refusal
        yield connection
    finally:
        connection.close()


def send(relay: RelayControl, recipient: str = "box@desk.test", sender: str = "desk@desk.test") -> None:
    with client(relay) as connection:
        connection.sendmail(sender, [recipient], RAW)


def fetch_all(mail: MailServer, mailbox: Mailbox) -> list[bytes]:
    with imaplib.IMAP4(mail.host, mail.imap_port, CLIENT_TIMEOUT_SECONDS) as connection:
        connection.login(mailbox.address, mailbox.password)
        connection.select("INBOX")
        found = connection.uid("SEARCH", "ALL")[1][0].split()
        return [connection.uid("FETCH", uid.decode(), "(BODY.PEEK[])")[1][0][1] for uid in found]


def test_mail_arrives_byte_for_byte_and_is_remembered(
    relay: RelayControl, mail_server: MailServer, new_mailbox: NewMailbox
) -> None:
    mailbox = new_mailbox("whole")
    send(relay, mailbox.address)

    (mail,) = relay.mails()
    assert relay.raw(mail.sequence) == RAW
    assert mail.sha256 == hashlib.sha256(RAW).hexdigest()
    assert (mail.sender, mail.recipients) == ("desk@desk.test", (mailbox.address,))
    assert (mail.message_id, mail.subject, mail.size_bytes) == ("<one@desk.test>", "Grüße", len(RAW))
    (stored,) = fetch_all(mail_server, mailbox)
    # GreenMail writes Return-Path and Received before the mail, and drops its last line end.
    assert stored.endswith(RAW.removesuffix(b"\r\n"))


def test_unlisted_recipients_are_refused_until_they_are_listed(relay: RelayControl) -> None:
    relay.take_only("known@desk.test")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        send(relay, "gone@desk.test")
    assert refused.value.recipients["gone@desk.test"][0] == 550
    assert refused.value.recipients["gone@desk.test"][1].startswith(b"5.1.1 <gone@desk.test>")
    assert [(step.phase, step.recipients) for step in relay.refusals()] == [("rcpt", ("gone@desk.test",))]
    assert relay.mails() == []

    relay.take_also("gone@desk.test")
    send(relay, "gone@desk.test")
    assert [mail.recipients for mail in relay.mails()] == [("gone@desk.test",)]


def test_the_empty_sender_is_taken_though_greenmail_would_not(
    relay: RelayControl, mail_server: MailServer, new_mailbox: NewMailbox
) -> None:
    mailbox = new_mailbox("bounces")
    send(relay, mailbox.address, sender="")
    assert [mail.sender for mail in relay.mails()] == [""]
    assert len(fetch_all(mail_server, mailbox)) == 1


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL])
def test_a_quota_refuses_at_its_phase_until_it_is_lifted(relay: RelayControl, phase: Phase) -> None:
    relay.set_quota(Quota(1, phase))
    send(relay)
    for _ in range(2):
        with pytest.raises(smtplib.SMTPException, match=r"5\.4\.5 Daily sending quota exceeded"):
            send(relay)
    assert [step.phase for step in relay.refusals()] == [phase.value] * 2
    relay.lift_quota()
    send(relay)
    assert len(relay.mails()) == 2


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in (Phase.BODY, Phase.ACCEPTED)])
def test_a_scripted_reply_is_given_once_and_the_next_mail_passes(relay: RelayControl, phase: Phase) -> None:
    relay.add_fault(Fault(phase, reply="421 4.3.2 Shutting down" if phase is Phase.CONNECT else TRY_LATER))
    with pytest.raises((smtplib.SMTPException, smtplib.SMTPConnectError)):
        send(relay)
    assert relay.mails() == []
    assert [step.phase for step in relay.refusals()] == [phase.value]
    send(relay)
    assert len(relay.mails()) == 1


@pytest.mark.parametrize("phase", [*Phase])
def test_a_cut_loses_the_reply_and_only_after_acceptance_keeps_the_mail(
    relay: RelayControl, phase: Phase
) -> None:
    relay.add_fault(Fault(phase, Act.CUT))
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        send(relay)
    relay.wait_for(lambda mails: len(mails) == (1 if phase is Phase.ACCEPTED else 0))
    assert [(step.phase, step.reply) for step in relay.refusals()] == [(phase.value, "cut")]


def test_a_mail_taken_before_a_hang_is_kept_though_the_client_gave_up(relay: RelayControl) -> None:
    relay.add_fault(Fault(Phase.ACCEPTED, Act.HANG))
    with (
        client(relay, IMPATIENT_SECONDS) as connection,
        pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"),
    ):
        connection.sendmail("desk@desk.test", ["box@desk.test"], RAW)
    assert len(relay.wait_for(bool)) == 1


def test_a_delay_only_delays(relay: RelayControl) -> None:
    relay.add_fault(Fault(Phase.RCPT, Act.DELAY, seconds=0.1))
    send(relay)
    assert len(relay.mails()) == 1
    assert relay.refusals() == []


def test_one_connection_carries_many_mails_in_order(relay: RelayControl) -> None:
    with client(relay) as connection:
        for number in range(20):
            connection.sendmail("desk@desk.test", [f"box{number}@desk.test"], RAW)
    mails = relay.mails()
    assert [mail.recipients for mail in mails] == [(f"box{number}@desk.test",) for number in range(20)]
    assert [mail.sequence for mail in mails] == [*range(mails[0].sequence, mails[0].sequence + 20)]
    assert len({mail.connection for mail in mails}) == 1


def test_the_relay_wants_the_right_password(relay: RelayControl) -> None:
    with smtplib.SMTP(relay.host, relay.port, "client.test", CLIENT_TIMEOUT_SECONDS) as connection:
        connection.ehlo()
        assert connection.mail("desk@desk.test")[0] == 530
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            connection.login(str(relay.user), "wrong")
        assert refused.value.smtp_code == 535


@pytest.mark.parametrize(
    ("method", "path", "body", "complaint"),
    [
        ("PUT", "/quota", {"mails": -1}, "mails >= 0"),
        ("PUT", "/quota", {}, "mails"),
        ("POST", "/faults", {"phase": "lunch"}, "lunch"),
        ("POST", "/faults", {"phase": "mail", "text": "x"}, "unknown fields: text"),
        ("PUT", "/recipients", {"recipients": "a@b.test"}, "list of patterns"),
        ("GET", "/mails/999999", None, "was not taken"),
        ("GET", "/nowhere", None, "no such order"),
    ],
)
def test_bad_orders_are_answered_in_words(
    relay: RelayControl, method: str, path: str, body: dict[str, object] | None, complaint: str
) -> None:
    with pytest.raises(ControlError, match=complaint):
        relay._request(method, path, body)


def test_waiting_in_vain_says_what_the_relay_has(relay: RelayControl) -> None:
    relay.take_only()
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send(relay)
    with pytest.raises(WaitedInVainError, match=r"took 0 mails.*rcpt 550 5\.1\.1"):
        relay.wait_for(bool, timeout_seconds=0.0)
