"""Which tickets a mail may belong to: every piece of evidence, strongest first, each with whether our signature holds.

The order is that of the help desks' experience (research: signed address, signed Message-ID, body marker, subject tag):

1. the signed plus-address, in envelope headers before To and Cc: it says where the mail was *sent*, and no mail program rewrites it;
2. the signed Message-ID in In-Reply-To, then in References from right to left (newest first);
3. in a delivery report, the marks of the original that it includes (kind OTHER, with where they stood), then in any mail the return path
   that it was sent to: machines answer to it (RFC 3834 section 4), people do not, and so it is no reply address;
4. the body marker, which a quote carries even where programs strip References;
5. the subject tag, which anybody can type.

Where providers rewrite our Message-ID (Amazon SES, Exchange), References still begins with the ticket's root mark, and the body has its marker. Outlook's
Thread-Index is no evidence: it carries nothing of ours, and it survives "new mail from an old one".

The ticket id is that of the strongest kind among the candidates whose signature holds; where two of that kind name different tickets, none is
better than the other, and a person decides. What is not signed never decides: a stranger who writes `[#123]` must not reach ticket 123, nor
raise a `conflict`, which is set when signed candidates name different tickets. Such candidates are listed all the same, because a ticketing
system that knows the sender as a participant of 123 may well take its word.

A forward or a changed subject weighs against the thread that comes along with it: a candidate decides only if its strength exceeds the doubt
(`STRENGTH`, `DOUBT`). It stays listed as verified, the key becomes the thread's, and a classification names the words.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from postlane.core.events.received import MatchCandidate, MatchKind
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.reading.subject_signs import ThreadSign, thread_sign
from postlane.core.reports.proof import original_marks
from postlane.core.reports.report import OriginalMail
from postlane.core.return_paths import read_return_path
from postlane.core.ticket_marks import (
    Mark,
    SigningKeys,
    read_body_markers,
    read_message_id,
    read_plus_address,
    read_subject_tags,
)

CANDIDATES_MAX = 20  # a mail that names more tickets is a digest or an attack
# Who writes to a ticket's address means the ticket. In-Reply-To names the one mail that was answered, but forwards set it as well; References
# and quoted markers come along with any old text.
STRENGTH = {
    MatchKind.PLUS_ADDRESS: 3,
    MatchKind.IN_REPLY_TO: 2,
    MatchKind.REFERENCES: 1,
    MatchKind.OTHER: 1,
    MatchKind.BODY_MARKER: 1,
    MatchKind.SUBJECT_TAG: 1,
}
DOUBT = {ThreadSign.FORWARDED: 2, ThreadSign.SUBJECT_CHANGED: 1}


@dataclass(frozen=True, slots=True)
class TicketMatch:
    """All candidates, the ticket that our signature proves (or None), and whether signed candidates disagree."""

    candidates: tuple[MatchCandidate, ...]
    ticket_id: str | None
    conflict: bool


def match_ticket(mail: ParsedMail, keys: SigningKeys, original: OriginalMail | None = None) -> TicketMatch:
    """Weigh the evidence of one mail; `original` is what it includes of the mail that it reports about, if it is a report."""
    distinct: dict[tuple[MatchKind, Mark], MatchCandidate] = {}
    for kind, mark, source in _evidence(mail, keys, original):
        if len(distinct) == CANDIDATES_MAX:
            break
        candidate = MatchCandidate(kind=kind, ticket_id=mark.ticket_id, verified=mark.verified, source=source)
        distinct.setdefault((kind, mark), candidate)
    candidates = tuple(distinct.values())
    proven = [candidate for candidate in candidates if candidate.verified]  # strongest kind first
    doubt = _doubt(mail, original) if proven else 0
    strongest = {
        candidate.ticket_id
        for candidate in proven
        if candidate.kind is proven[0].kind and STRENGTH[candidate.kind] > doubt
    }
    return TicketMatch(
        candidates,
        ticket_id=strongest.pop() if len(strongest) == 1 else None,
        conflict=len({candidate.ticket_id for candidate in proven}) > 1,
    )


def _doubt(mail: ParsedMail, original: OriginalMail | None) -> int:
    sign = None if original is not None else thread_sign(mail)  # servers put no prefixes
    return 0 if sign is None else DOUBT[sign.sign]


def _evidence(
    mail: ParsedMail, keys: SigningKeys, original: OriginalMail | None
) -> Iterator[tuple[MatchKind, Mark, str]]:
    for address, source in _addressed(mail):
        if mark := read_plus_address(keys, address):
            yield MatchKind.PLUS_ADDRESS, mark, source
    named = [(MatchKind.IN_REPLY_TO, one, "In-Reply-To") for one in mail.in_reply_to]
    named += [(MatchKind.REFERENCES, one, "References") for one in reversed(mail.references)]
    for kind, message_id, source in named:
        if mark := read_message_id(keys, message_id):
            yield kind, mark, source
    yield from _reported(mail, keys, original)
    for body, source in ((mail.text, "text"), (mail.html, "html")):
        for mark in read_body_markers(keys, body or ""):
            yield MatchKind.BODY_MARKER, mark, source
    for mark in read_subject_tags(mail.subject):
        yield MatchKind.SUBJECT_TAG, mark, "Subject"


def _reported(
    mail: ParsedMail, keys: SigningKeys, original: OriginalMail | None
) -> Iterator[tuple[MatchKind, Mark, str]]:
    """What machines name: the mail that they give back, and the return path that they answer to."""
    if original is not None:
        for mark, source in original_marks(original, keys):
            yield MatchKind.OTHER, mark, source
    for address, source in _addressed(mail):
        if path := read_return_path(keys, address):
            yield MatchKind.OTHER, path.mark, f"return path in {source}"


def _addressed(mail: ParsedMail) -> list[tuple[str, str]]:
    """Whom the mail went to, the envelope's word first."""
    return [
        *((address, "envelope") for address in mail.delivered_to),
        *((address.address, "To") for address in mail.to),
        *((address.address, "Cc") for address in mail.cc),
    ]
