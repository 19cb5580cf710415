"""What a report proves, and that nobody else's word puts a recipient on the suppression list."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.feedback import FeedbackKind, MailFeedback, Permanence
from postlane.core.events.mail import BlobRef
from postlane.core.events.received import MailReceived
from postlane.core.reading.mail_class import ClassRules
from postlane.core.reading.mail_event import Place, build_event
from postlane.core.reading.mail_reading import ReadRequest, read_mail
from postlane.core.reports.feedback import build_feedback, permanence, suppressing_reply
from postlane.core.reports.proof import prove_report
from postlane.core.reports.report import MailReport, OriginalMail, ReportedRecipient, ReportKind
from postlane.core.ticket_marks import SigningKeys

KEYS = SigningKeys("k1", {"k1": b"a secret of the tests"}, "desk.example")
THEIRS = SigningKeys("k1", {"k1": b"a secret of somebody"}, "desk.example")
NOW = datetime(2026, 11, 22, tzinfo=UTC)
SIGNER = KEYS.signer(NOW)
EVENT = "0191-event"
ID = SIGNER.message_id("4711", EVENT)
ANN = "ann@example.org"
ORIGINAL = OriginalMail(
    message_id=ID, event_id=EVENT, recipient_proof=SIGNER.recipient_proof(ID, ANN), recipients=(ANN,)
)
GONE = ReportedRecipient(
    address=ANN, action="failed", status="5.1.1", smtp_code=550, diagnostic="550 5.1.1 unknown"
)


def report(*recipients: ReportedRecipient, original: OriginalMail = ORIGINAL) -> MailReport:
    return MailReport(kind=ReportKind.BOUNCE, recipients=recipients or (GONE,), original=original)


def event() -> MailReceived:
    place = Place(mailbox="m", folder="INBOX", uid_validity=1, uid=1, received_at=NOW)
    reading = read_mail(ReadRequest(b"Subject: x\r\n\r\n"), ClassRules(frozenset(), frozenset(), KEYS))
    return build_event(place, BlobRef(sha256="0" * 64, size_bytes=1), reading, (), NOW)


def feedback(told: MailReport, matched: str | None = None) -> tuple[MailFeedback, ...]:
    proven = prove_report(told, KEYS, matched)
    return () if proven is None else build_feedback(event(), proven)


def test_a_report_about_a_mail_of_ours_names_it() -> None:
    (one,) = feedback(report())
    assert (one.kind, one.permanence) == (FeedbackKind.BOUNCE, Permanence.HARD)
    assert (one.ticket_id, one.message_id, one.request_event_id) == ("4711", ID, EVENT)
    assert (one.recipient, one.recipient_proven, one.status) == (ANN, True, "5.1.1")
    assert one.source_event_id == event().event_id
    assert feedback(report())[0].feedback_id == one.feedback_id
    reply = suppressing_reply(one)
    assert reply is not None
    assert (reply.code, reply.enhanced_code, reply.phase) == (550, "5.1.1", "rcpt")


@pytest.mark.parametrize(
    "original",
    [
        OriginalMail(),
        replace(ORIGINAL, message_id="<x@desk.example>"),
        replace(ORIGINAL, message_id=THEIRS.signer(NOW).message_id("4711", EVENT)),
        replace(ORIGINAL, message_id=ID.replace("4711", "4712")),
    ],
)
def test_without_our_signature_nothing_is_reported(original: OriginalMail) -> None:
    assert feedback(report(original=original)) == ()
    # Another mark of the same mail may prove the ticket; which mail of it, and for whom, stays open.
    (one,) = feedback(report(original=original), matched="4711")
    assert (one.ticket_id, one.message_id, one.request_event_id) == ("4711", None, None)
    assert not one.recipient_proven
    assert suppressing_reply(one) is None


def test_a_rewritten_id_is_made_up_for_by_our_own_header() -> None:
    rewritten = replace(ORIGINAL, message_id="<0100@email.amazonses.com>", our_id=ID.upper())
    (one,) = feedback(report(original=rewritten))
    assert (one.message_id, one.recipient_proven) == (ID, True)


def test_an_event_id_counts_only_where_our_message_id_was_made_for_it() -> None:
    (one,) = feedback(report(original=replace(ORIGINAL, event_id="another")))
    assert (one.message_id, one.request_event_id) == (ID, None)


@pytest.mark.parametrize(
    "told",
    [
        replace(GONE, address="victim@example.com"),
        replace(GONE, address="victim@example.com", original=ANN),
        replace(GONE, status="5.7.1"),
        replace(GONE, status="5.2.2"),
        replace(GONE, status="5.1.8"),
        replace(GONE, status="4.1.1"),
        replace(GONE, status=None),
        replace(GONE, action="delayed"),
        replace(GONE, action="delivered"),
        replace(GONE, address=None),
    ],
)
def test_what_never_suppresses(told: ReportedRecipient) -> None:
    (one,) = feedback(report(told))
    assert suppressing_reply(one) is None


def test_only_the_proven_recipient_of_a_report_is_meant() -> None:
    victim = replace(GONE, address="victim@example.com")
    told = feedback(report(victim, GONE))
    assert [suppressing_reply(one) is not None for one in told] == [False, True]
    assert len({one.feedback_id for one in told}) == 2


proofs = st.one_of(
    st.text(max_size=40),
    st.builds(THEIRS.signer(NOW).recipient_proof, st.just(ID), st.just("victim@example.com")),
    st.builds(SIGNER.recipient_proof, st.just(ID), st.sampled_from([ANN, "kim@example.org"])),
    st.builds(SIGNER.recipient_proof, st.sampled_from([SIGNER.message_id("9", "e"), "<x@y>"]), st.just("victim@example.com")),
)  # fmt: skip


@given(proof=proofs, original=st.sampled_from([ANN, "victim@example.com", None]))
def test_no_proof_that_a_stranger_can_have_suppresses_a_victim(proof: str, original: str | None) -> None:
    forged = replace(ORIGINAL, recipient_proof=proof, recipients=("victim@example.com",))
    told = replace(GONE, address="victim@example.com", original=original)
    (one,) = feedback(report(told, original=forged))
    assert not one.recipient_proven
    assert suppressing_reply(one) is None


@pytest.mark.parametrize(
    ("kind", "status", "code", "expected"),
    [
        (FeedbackKind.BOUNCE, "5.1.1", None, Permanence.HARD),
        (FeedbackKind.BOUNCE, "5.7.1", 550, Permanence.HARD),
        (FeedbackKind.BOUNCE, "5.2.2", 552, Permanence.SOFT),
        (FeedbackKind.BOUNCE, "4.4.7", None, Permanence.SOFT),
        (FeedbackKind.BOUNCE, None, 550, Permanence.HARD),
        (FeedbackKind.BOUNCE, None, 450, Permanence.SOFT),
        (FeedbackKind.BOUNCE, None, None, Permanence.UNKNOWN),
        (FeedbackKind.DELAY, "5.1.1", None, Permanence.SOFT),
        (FeedbackKind.COMPLAINT, None, None, Permanence.UNKNOWN),
        (FeedbackKind.DELIVERED, "2.0.0", None, Permanence.UNKNOWN),
    ],
)
def test_permanence_by_codes(
    kind: FeedbackKind, status: str | None, code: int | None, expected: Permanence
) -> None:
    assert permanence(kind, ReportedRecipient(address="x", status=status, smtp_code=code)) is expected
