"""Reports that come to a return path of ours with nothing else of our mail in them."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.feedback import FeedbackKind, MailFeedback, Permanence
from postlane.core.events.mail import BlobRef
from postlane.core.events.received import MatchKind
from postlane.core.reading.mail_class import ClassRules
from postlane.core.reading.mail_event import Place, build_event
from postlane.core.reading.mail_reading import ReadRequest, read_mail
from postlane.core.reading.parsed_mail import MailReading
from postlane.core.reports.feedback import build_feedback, suppressing_reply
from postlane.core.return_paths import write_return_path
from postlane.core.ticket_marks import SigningKeys

KEYS = SigningKeys("k1", {"k1": b"a secret of the tests"}, "desk.example")
THEIRS = SigningKeys("k1", {"k1": b"a secret of somebody"}, "desk.example")
NOW = datetime(2026, 11, 22, tzinfo=UTC)
ANN, VICTIM = "ann@example.org", "victim@example.com"
RULES = ClassRules(frozenset({"support@desk.example"}), frozenset(), KEYS)


def path(ticket: str = "4711", event: str = "e-1", to: str | None = ANN, keys: SigningKeys = KEYS) -> str:
    written = write_return_path(
        keys.signer(NOW), "support@desk.example", ticket_id=ticket, event_id=event, mailbox=to
    )
    assert written is not None
    return written


def message_id(ticket: str = "4711", event: str = "e-1") -> str:
    return KEYS.signer(NOW).message_id(ticket, event)


def notice(to: str, *, address: str = ANN, header: str = "To", more: str = "") -> bytes:
    """qmail's: no fields, and nothing of the mail that it is about."""
    return (
        f"Return-Path: <>\r\n{header}: {to}\r\nFrom: MAILER-DAEMON@mx.example.org\r\nSubject: failure notice\r\n{more}"
        "Message-ID: <1@mx.example.org>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\n"
        "Hi. This is the qmail-send program at mx.example.org.\r\n"
        "I'm afraid I wasn't able to deliver your message to the following addresses.\r\n"
        "This is a permanent error; I've given up. Sorry it didn't work out.\r\n\r\n"
        f"<{address}>:\r\n550 5.1.1 User unknown\r\n"
    ).encode()


def delay(to: str) -> bytes:
    return (
        f"Return-Path: <>\r\nTo: {to}\r\nFrom: MAILER-DAEMON@mx.example.org\r\nSubject: Delayed\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\n\r\nStill trying.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        f"Reporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; {ANN}\r\nAction: delayed\r\nStatus: 4.4.1\r\n\r\n--b--\r\n"
    ).encode()


def complaint(fields: str, original: str) -> bytes:
    return (
        "To: fbl@desk.example\r\nFrom: fbl@provider.example\r\nSubject: complaint\r\n"
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n"
        "--b\r\n\r\nA user complains.\r\n--b\r\nContent-Type: message/feedback-report\r\n\r\n"
        f"Feedback-Type: abuse\r\nUser-Agent: x\r\nVersion: 1\r\n{fields}\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\n{original}Subject: redacted\r\n\r\n--b--\r\n"
    ).encode()


def reading(raw: bytes, rules: ClassRules = RULES) -> MailReading:
    return read_mail(ReadRequest(raw), rules)


def feedback(raw: bytes) -> tuple[MailFeedback, ...]:
    place = Place(mailbox="m", folder="INBOX", uid_validity=1, uid=1, received_at=NOW)
    read = reading(raw)
    event = build_event(place, BlobRef(sha256="0" * 64, size_bytes=1), read, (), NOW)
    return () if read.report is None else build_feedback(event, read.report)


@pytest.mark.parametrize("header", ["To", "Delivered-To", "X-Original-To", "Envelope-To", "X-Gm-Original-To"])
@pytest.mark.parametrize("fold", [str, str.upper, str.lower])
def test_a_bounce_without_a_word_of_our_mail_names_it(header: str, fold: Callable[[str], str]) -> None:
    raw = notice(fold(path()), header=header)
    (one,) = feedback(raw)
    assert (one.kind, one.permanence) == (FeedbackKind.BOUNCE, Permanence.HARD)
    assert (one.ticket_id, one.message_id, one.request_event_id) == ("4711", message_id(), None)
    assert (one.recipient, one.recipient_proven, one.status) == (ANN, True, "5.1.1")
    assert suppressing_reply(one) is not None
    read = reading(raw)
    assert (read.ticket_id, read.conflict) == ("4711", False)
    (match,) = read.matches
    assert (match.kind, match.verified) == (MatchKind.OTHER, True)
    assert match.source.startswith("return path in ")


def test_a_delay_is_told_and_suppresses_nobody() -> None:
    (one,) = feedback(delay(path()))
    assert (one.kind, one.permanence, one.message_id) == (FeedbackKind.DELAY, Permanence.SOFT, message_id())
    assert one.recipient_proven
    assert suppressing_reply(one) is None


@pytest.mark.parametrize(
    ("fields", "original"),
    [
        (f"Original-Mail-From: <{path()}>\r\nOriginal-Rcpt-To: <{ANN}>\r\n", ""),
        (f"Original-Rcpt-To: <{ANN}>\r\n", f"Return-Path: <{path()}>\r\n"),
    ],
)
def test_a_complaint_names_the_mail_by_its_sender(fields: str, original: str) -> None:
    raw = complaint(fields, original)
    (one,) = feedback(raw)
    assert (one.kind, one.ticket_id, one.message_id) == (FeedbackKind.COMPLAINT, "4711", message_id())
    assert (one.recipient, one.recipient_proven) == (ANN, True)
    assert reading(raw).ticket_id == "4711"


def test_a_bounce_of_a_mail_to_several_tells_of_the_mail_and_suppresses_nobody() -> None:
    (one,) = feedback(notice(path(to=None)))
    assert (one.ticket_id, one.message_id, one.recipient) == ("4711", message_id(), ANN)
    assert not one.recipient_proven
    assert suppressing_reply(one) is None


@pytest.mark.parametrize(
    "to",
    [
        path(keys=THEIRS),
        path().replace("t4711", "t4712"),
        path()[:-20] + "@desk.example",
        path().replace("+v", "+"),
        "support@desk.example",
    ],
)
def test_a_forged_return_path_proves_nothing(to: str) -> None:
    raw = notice(to)
    assert feedback(raw) == ()
    read = reading(raw)
    assert (read.ticket_id, read.conflict) == (None, False)
    assert not any(match.verified for match in read.matches)


def test_a_key_that_was_removed_proves_nothing() -> None:
    rules = ClassRules(
        frozenset(), frozenset(), SigningKeys("k2", {"k2": b"another secret here"}, "desk.example")
    )
    read = reading(notice(path()), rules)
    assert (read.report, read.ticket_id) == (None, None)


@given(
    to=st.sampled_from(
        [path(), path(to=None), path("9", "x", "kim@example.org"), path(keys=THEIRS, to=VICTIM)]
    ),
    second=st.sampled_from(["", path(), path("4711", "e-2"), path("9", "x", "kim@example.org")]),
)
def test_no_return_path_that_a_stranger_can_have_suppresses_a_victim(to: str, second: str) -> None:
    more = f"Delivered-To: {second}\r\n" if second else ""
    for one in feedback(notice(to, address=VICTIM, more=more)):
        assert not one.recipient_proven
        assert suppressing_reply(one) is None


def test_of_two_tickets_none_is_better_but_the_report_is_told_once() -> None:
    raw = notice(path(), more=f"Delivered-To: {path('9')}\r\n")
    read = reading(raw)
    assert (read.ticket_id, read.conflict) == (None, True)
    assert len(feedback(raw)) == 1


def test_the_included_mail_names_itself_before_the_return_path_does() -> None:
    other = message_id("4711", "e-2")
    (one,) = feedback(
        notice(path())
        + f"\r\n--- Below this line is a copy of the message.\r\n\r\nMessage-ID: {other}\r\n".encode()
    )
    assert (one.ticket_id, one.message_id) == ("4711", other)


def test_the_return_path_of_another_ticket_names_no_mail_of_this_one() -> None:
    marker = KEYS.signer(NOW).body_marker("9")
    given_back = f"\r\n--- Below this line is a copy of the message.\r\n\r\nSubject: x\r\n\r\nHello\r\n\r\n{marker}\r\n"
    (one,) = feedback(notice(path()) + given_back.encode())
    assert (one.ticket_id, one.message_id, one.recipient_proven) == ("9", None, False)


def test_the_desks_own_address_in_the_words_is_nobody_who_failed() -> None:
    raw = notice(path()).replace(
        b"<ann@example.org>:", b"support@desk.example: sender of the mail\r\n<ann@example.org>:"
    )
    assert [one.recipient for one in feedback(raw)] == [ANN]


def test_an_absence_answers_to_the_return_path_and_joins_its_ticket_unanswered() -> None:
    absent = (
        f"To: {path()}\r\nFrom: Ann <{ANN}>\r\nSubject: I am away\r\nMessage-ID: <2@example.org>\r\n\r\nBack on Monday.\r\n"
    ).encode()
    read = reading(absent)
    assert (read.ticket_id, read.report) == ("4711", None)
    assert not read.verdicts.may_auto_answer
    assert read.verdicts.may_reopen
    assert [one.reason for one in read.classifications] == [f"sent to our return path {path()}"]
    forged = reading(absent.replace(b"+vt4711", b"+vt4712"))
    assert forged.verdicts.may_auto_answer
