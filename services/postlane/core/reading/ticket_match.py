"""Which tickets a mail may belong to: every piece of evidence, strongest first, each with whether our signature holds.

The order is that of the help desks' experience (research: signed address, signed Message-ID, body marker, subject tag):

1. the signed plus-address, in envelope headers before To and Cc: it says where the mail was *sent*, and no mail program rewrites it;
2. the signed Message-ID in In-Reply-To, then in References from right to left (newest first);
3. the body marker, which a quote carries even where programs strip References;
4. the subject tag, which anybody can type.

The ticket id is that of the strongest kind among the candidates whose signature holds; where two of that kind name different tickets, none is
better than the other, and a person decides. What is not signed never decides: a stranger who writes `[#123]` must not reach ticket 123, nor
raise a `conflict`, which is set when signed candidates name different tickets. Such candidates are listed all the same, because a ticketing
system that knows the sender as a participant of 123 may well take its word.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from postlane.core.events.received import MatchCandidate, MatchKind
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.ticket_marks import (
    Mark,
    SigningKeys,
    read_body_markers,
    read_message_id,
    read_plus_address,
    read_subject_tags,
)

CANDIDATES_MAX = 20  # a mail that names more tickets is a digest or an attack


@dataclass(frozen=True, slots=True)
class TicketMatch:
    """All candidates, the ticket that our signature proves (or None), and whether signed candidates disagree."""

    candidates: tuple[MatchCandidate, ...]
    ticket_id: str | None
    conflict: bool


def match_ticket(mail: ParsedMail, keys: SigningKeys) -> TicketMatch:
    """Weigh the evidence of one mail."""
    distinct: dict[tuple[MatchKind, Mark], MatchCandidate] = {}
    for kind, mark, source in _evidence(mail, keys):
        if len(distinct) == CANDIDATES_MAX:
            break
        candidate = MatchCandidate(kind=kind, ticket_id=mark.ticket_id, verified=mark.verified, source=source)
        distinct.setdefault((kind, mark), candidate)
    candidates = tuple(distinct.values())
    proven = [candidate for candidate in candidates if candidate.verified]  # strongest kind first
    strongest = {candidate.ticket_id for candidate in proven if candidate.kind is proven[0].kind}
    return TicketMatch(
        candidates,
        ticket_id=strongest.pop() if len(strongest) == 1 else None,
        conflict=len({candidate.ticket_id for candidate in proven}) > 1,
    )


def _evidence(mail: ParsedMail, keys: SigningKeys) -> Iterator[tuple[MatchKind, Mark, str]]:
    addressed = [(address, "envelope") for address in mail.delivered_to]
    addressed += [(address.address, "To") for address in mail.to]
    addressed += [(address.address, "Cc") for address in mail.cc]
    for address, source in addressed:
        if mark := read_plus_address(keys, address):
            yield MatchKind.PLUS_ADDRESS, mark, source
    for message_id in mail.in_reply_to:
        if mark := read_message_id(keys, message_id):
            yield MatchKind.IN_REPLY_TO, mark, "In-Reply-To"
    for message_id in reversed(mail.references):
        if mark := read_message_id(keys, message_id):
            yield MatchKind.REFERENCES, mark, "References"
    for body, source in ((mail.text, "text"), (mail.html, "html")):
        for mark in read_body_markers(keys, body or ""):
            yield MatchKind.BODY_MARKER, mark, source
    for mark in read_subject_tags(mail.subject):
        yield MatchKind.SUBJECT_TAG, mark, "Subject"
