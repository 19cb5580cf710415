"""Which ticket a mail's evidence proves, and when a person should look: as schemas/mail_received.v1.avsc says."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.mail import Address, Header
from postlane.core.events.received import MatchKind, ParseStatus
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.reading.ticket_match import CANDIDATES_MAX, match_ticket
from postlane.core.reports.report import OriginalMail
from postlane.core.ticket_marks import SigningKeys

KEYS = SigningKeys("k1", {"k1": b"a secret of the tests"}, "desk.example")
OTHERS = SigningKeys("k1", {"k1": b"a secret of somebody"}, "desk.example")
NOW = datetime(2026, 11, 22, tzinfo=UTC)
TOPIC = Header(name="Thread-Topic", value="printer")


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


FROM_THREAD: dict[str, object] = {"in_reply_to": (message_id("1"),), "references": (message_id("1"),)}


@pytest.mark.parametrize(
    ("read", "ticket_id"),
    [
        (mail(subject="Re: printer", **FROM_THREAD), "1"),
        (mail(subject="Re: Fwd: printer", **FROM_THREAD), "1"),
        # A forward takes an old thread along; only its ticket's own address decides.
        (mail(subject="Fwd: printer", **FROM_THREAD), None),
        (mail(subject="WG: AW: Drucker", **FROM_THREAD), None),
        (mail(subject="[Fwd: printer]", **FROM_THREAD), None),
        (mail(subject="FW: printer", to=(plus("1"),), **FROM_THREAD), "1"),
        (mail(subject="Forwarding agents", **FROM_THREAD), "1"),
        # A changed subject outweighs References and quoted markers, not In-Reply-To.
        (mail(subject="Toner (was: printer)", references=(message_id("1"),)), None),
        (mail(subject="Toner (was: printer)", **FROM_THREAD), "1"),
        (mail(subject="Toner", references=(message_id("1"),), headers=(TOPIC,)), None),
        (mail(subject="Re: Printer", references=(message_id("1"),), headers=(TOPIC,)), "1"),
        (mail(subject="Toner", headers=(TOPIC,), text=KEYS.signer(NOW).body_marker("1")), "1"),  # no thread
    ],
)
def test_forwards_and_changed_subjects_weigh_against_the_thread(
    read: ParsedMail, ticket_id: str | None
) -> None:
    match = match_ticket(read, KEYS)
    assert match.ticket_id == ticket_id
    assert all(one.verified for one in match.candidates)
    assert match.candidates  # the evidence stays
    assert not match.conflict


def test_keys_rotate_and_old_threads_stay() -> None:
    rotated = SigningKeys("k2", {"k1": b"a secret of the tests", "k2": b"a newer secret"}, "desk.example")
    old, new = message_id("1"), rotated.signer(NOW).message_id("1", "later")
    assert old != new
    for signed in (old, new):
        assert match_ticket(mail(in_reply_to=(signed,)), rotated).ticket_id == "1"
    removed = SigningKeys("k2", {"k2": b"a newer secret"}, "desk.example")
    match = match_ticket(mail(in_reply_to=(old,)), removed)
    assert (match.ticket_id, [one.verified for one in match.candidates]) == (None, [False])


def test_a_reports_original_names_its_ticket() -> None:
    rewritten = OriginalMail(
        message_id="<1@ses.example>", our_id=message_id("1"), references=(message_id("2"),)
    )
    match = match_ticket(mail(subject="Fwd: x"), KEYS, rewritten)
    assert [(one.kind, one.ticket_id, one.source) for one in match.candidates] == [
        (MatchKind.OTHER, "1", "original X-Postlane-Message-ID"),
        (MatchKind.OTHER, "2", "original References"),
    ]
    assert (match.ticket_id, match.conflict) == (None, True)
    assert match_ticket(mail(), KEYS, OriginalMail(message_id=message_id("1"))).ticket_id == "1"


@given(
    st.text(alphabet="[]#ref:tub0123456789k.@<>abc ", max_size=120),
    st.text(alphabet="[]#ref:tub0123456789k.@<>abc ", max_size=120),
)
def test_no_words_of_a_stranger_prove_a_ticket(subject: str, text: str) -> None:
    foreign = mail(subject=subject, text=text, references=(f"<{text[:60]}@desk.example>",))
    match = match_ticket(foreign, KEYS)
    assert match.ticket_id is None
    assert not any(one.verified for one in match.candidates)
