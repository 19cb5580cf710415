"""Which ticket a mail's evidence proves, and when a person should look: as schemas/mail_received.v1.avsc says."""

from datetime import UTC, datetime

import pytest

from postlane.core.events.mail import Address
from postlane.core.events.received import MatchKind, ParseStatus
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.reading.ticket_match import CANDIDATES_MAX, match_ticket
from postlane.core.ticket_marks import SigningKeys

KEYS = SigningKeys("k1", {"k1": b"a secret of the tests"}, "desk.example")
OTHERS = SigningKeys("k1", {"k1": b"a secret of somebody"}, "desk.example")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def message_id(ticket: str, keys: SigningKeys = KEYS) -> str:
    return keys.signer(NOW).message_id(ticket, "event")


def plus(ticket: str) -> Address:
    address = KEYS.signer(NOW).plus_address("support@desk.example", ticket)
    assert address is not None
    return Address(address=address)


def mail(**fields: object) -> ParsedMail:
    return ParsedMail(parse_status=ParseStatus.OK, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("read", "ticket_id", "conflict"),
    [
        (mail(), None, False),
        (mail(in_reply_to=(message_id("1"),)), "1", False),
        (mail(in_reply_to=(message_id("1"),), references=(message_id("1"),)), "1", False),
        # What anybody can write neither decides nor disturbs.
        (mail(subject="[#99] and [#98]"), None, False),
        (mail(in_reply_to=(message_id("1"),), subject="[#99]"), "1", False),
        (mail(in_reply_to=(message_id("9", OTHERS), message_id("1"))), "1", False),
        # The stronger kind wins; a person should look.
        (mail(to=(plus("2"),), in_reply_to=(message_id("1"),)), "2", True),
        (mail(in_reply_to=(message_id("1"),), references=(message_id("3"), message_id("2"))), "1", True),
        # Nothing is stronger than its like.
        (mail(to=(plus("1"),), cc=(plus("2"),)), None, True),
        (mail(to=(plus("1"), plus("2")), in_reply_to=(message_id("1"),)), None, True),
        (mail(references=(message_id("1"), message_id("2"))), None, True),
        (mail(to=(plus("1"),), cc=(plus("1"),), in_reply_to=(message_id("1"),)), "1", False),
    ],
)
def test_the_best_signed_evidence_decides_unless_its_like_contradicts(
    read: ParsedMail, ticket_id: str | None, *, conflict: bool
) -> None:
    match = match_ticket(read, KEYS)
    assert (match.ticket_id, match.conflict) == (ticket_id, conflict)


def test_every_candidate_is_listed_strongest_first() -> None:
    match = match_ticket(mail(to=(plus("2"),), in_reply_to=(message_id("9", OTHERS),), subject="[#99]"), KEYS)
    assert [(one.kind, one.ticket_id, one.verified) for one in match.candidates] == [
        (MatchKind.PLUS_ADDRESS, "2", True),
        (MatchKind.IN_REPLY_TO, "9", False),
        (MatchKind.SUBJECT_TAG, "99", False),
    ]


def test_without_keys_nothing_is_proven_and_nothing_conflicts() -> None:
    unsigned = SigningKeys("k1", {}, "desk.example")
    answer = mail(in_reply_to=(message_id("1", unsigned),), subject="[#2]")
    match = match_ticket(answer, unsigned)
    assert (match.ticket_id, match.conflict, len(match.candidates)) == (None, False, 2)


def test_what_is_not_ours_is_no_candidate_and_their_number_is_bounded() -> None:
    foreign = mail(in_reply_to=("<a@b.test>",), references=("<c@d.test>",), to=(Address(address="a@b.test"),))
    assert match_ticket(foreign, KEYS).candidates == ()
    digest = mail(
        references=tuple(message_id(str(number)) for number in range(50)), cc=(Address(address="x"),)
    )
    match = match_ticket(digest, KEYS)
    assert (len(match.candidates), match.ticket_id, match.conflict) == (CANDIDATES_MAX, None, True)
