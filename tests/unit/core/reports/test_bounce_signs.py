"""What makes a notice of a mail, and that no text makes it slow; verdicts on whole mails stand in the corpus."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.mail import Address
from postlane.core.events.received import ParseStatus
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.reports.bounce_phrases import ORIGINAL_LINE
from postlane.core.reports.bounce_signs import find_notice, is_delay, notice_text, quoted_original
from postlane.core.reports.report import ReportKind


def mail(**fields: object) -> ParsedMail:
    sender = fields.pop("sender", "ann@example.org")
    return ParsedMail(
        parse_status=ParseStatus.OK,
        from_addresses=(Address(address=str(sender)),),
        **fields,  # type: ignore[arg-type]
    )


FAILED = "A message that you sent could not be delivered. 550 5.1.1 User unknown"


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (mail(sender="mailer-daemon@mx"), ReportKind.BOUNCE),
        (mail(sender="postmaster@mx", text=FAILED), ReportKind.BOUNCE),
        (mail(sender="no-reply@mx", return_path="", text=FAILED), ReportKind.BOUNCE),
        (mail(sender="mailer-daemon@mx", text="It will be retried for 5 days."), ReportKind.DELAY),
        (
            mail(sender="mailer-daemon@mx", text="Delivery failed permanently after delivery was delayed."),
            ReportKind.BOUNCE,
        ),
        # A person may quote all of it.
        (mail(text=FAILED, part_types=("multipart/mixed", "message/rfc822")), None),
        (mail(subject="Re: Undeliverable: x", text=FAILED), None),
        (
            mail(sender="support@example.org", text=FAILED, return_path="support@example.org"),
            ReportKind.BOUNCE,
        ),
    ],
)
def test_signs_add_up(read: ParsedMail, kind: ReportKind | None) -> None:
    notice = find_notice(read, answers_by_machine=False)
    assert (notice and notice.kind) == kind


def test_an_absent_persons_null_path_is_no_bounce() -> None:
    left = mail(return_path="", text="Kim is gone, your message was not delivered; the mailbox is disabled.")
    assert find_notice(left, answers_by_machine=False) is not None
    assert find_notice(left, answers_by_machine=True) is None


@pytest.mark.parametrize(
    "line",
    [
        "--- Below this line is a copy of the message.",
        "------ This is a copy of the message, including all the headers. ------",
        "--- The header of the original message is following. ---",
        "   ----- Original message follows -----",
        "   ----- Unsent message follows -----",
        "----- Original message -----",
        "Message headers follow:",
        "Original Message Headers",
        "------- Returned Message --------",
        "--- Enclosed are the original headers of the message.",
    ],
)
def test_the_original_begins_behind_such_a_line(line: str) -> None:
    read = mail(text=f"It failed.\n\n{line}\n\nSubject: x\n\nbody")
    if "Enclosed" in line:
        assert ORIGINAL_LINE.match(line.strip("- .")) is None  # nothing follows that names the mail
        return
    assert notice_text(read) == "It failed.\n\n"
    assert quoted_original(read) == "Subject: x\n\nbody"


@given(st.text(max_size=500), st.text(max_size=200))
def test_any_words_are_judged(text: str, subject: str) -> None:
    read = mail(text=text, subject=subject)
    assert notice_text(read) + "x" <= text + "x" or text.startswith(notice_text(read))
    is_delay(read)
    find_notice(read, answers_by_machine=False)


@pytest.mark.parametrize(
    "text",
    ["- " * 4000, " " * 8000, "the " * 2000, "-" * 8000, "message to " * 700, "delivery to these " * 400],
)
def test_hostile_words_take_no_time(text: str) -> None:
    read = mail(text=text, subject=text[:2000])
    began = time.process_time()
    find_notice(read, answers_by_machine=False)
    assert time.process_time() - began < 2.0
