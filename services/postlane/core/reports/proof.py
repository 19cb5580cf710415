"""Whether a report is about mail of ours, and how much of it can have been made up by others.

Our signature in a report shows that its writer has seen mail of that ticket. So have all its recipients, and any of them could report another
one as gone. Two things settle that, because nobody but one recipient and the servers on the way has read them: the `X-Postlane-Recipient` of a
mail with a single recipient, which ties Message-ID and recipient together, and a return path (core.return_paths) that names its only recipient.
"""

from collections.abc import Iterable

from postlane.core.addresses import mailbox_key
from postlane.core.reports.report import MailReport, OriginalMail, ProvenReport
from postlane.core.return_paths import ReturnPath, names_recipient, read_return_path
from postlane.core.ticket_marks import (
    Mark,
    SigningKeys,
    names_event,
    proves_recipient,
    read_body_markers,
    read_message_id,
)


def original_marks(original: OriginalMail, keys: SigningKeys) -> list[tuple[Mark, str]]:
    """The marks of ours in an included original with where they stood, the ones that name the mail before those that name only its ticket."""
    found = [
        (mark, f"original {where}")
        for message_id, where in _ids(original)
        if (mark := read_message_id(keys, message_id))
    ]
    if original.return_path and (path := read_return_path(keys, original.return_path)):
        found.append((path.mark, "original Return-Path"))
    found += [(mark, "original text") for mark in read_body_markers(keys, original.text)]
    return found


def prove_report(report: MailReport, keys: SigningKeys, matched_ticket: str | None) -> ProvenReport | None:
    """The report with the mail that it is about; None where nothing signed says so. `matched_ticket` is what the report's own marks prove."""
    original = report.original
    read = [path for one in report.return_paths if (path := read_return_path(keys, one))]
    paths = [path for path in read if path.mark.verified]
    marks = [*(mark for mark, _ in original_marks(original, keys)), *(path.mark for path in paths)]
    ticket_id = next((mark.ticket_id for mark in marks if mark.verified), matched_ticket)
    if ticket_id is None:
        return None
    paths = [path for path in paths if path.mark.ticket_id == ticket_id]
    message_id = _our_message_id(original, keys, ticket_id)
    message_id = message_id or next((path.message_id for path in paths if path.message_id), None)
    event_id = original.event_id
    if message_id is None or event_id is None or not names_event(message_id, event_id):
        event_id = None
    return ProvenReport(
        report=report,
        ticket_id=ticket_id,
        message_id=message_id,
        event_id=event_id,
        proven_addresses=_proven_addresses(report, keys, message_id, paths),
    )


def _ids(original: OriginalMail) -> list[tuple[str, str]]:
    ids = [(original.our_id, "X-Postlane-Message-ID"), (original.message_id, "Message-ID")]
    ids += [(reference, "References") for reference in reversed(original.references)]
    return [(message_id, where) for message_id, where in ids if message_id]


def _our_message_id(original: OriginalMail, keys: SigningKeys, ticket_id: str) -> str | None:
    for message_id in (original.our_id, original.message_id):
        mark = read_message_id(keys, message_id) if message_id else None
        if message_id and mark is not None and mark.verified and mark.ticket_id == ticket_id:
            return f"<{message_id.strip().strip('<>').lower()}>"
    return None


def _proven_addresses(
    report: MailReport, keys: SigningKeys, message_id: str | None, paths: Iterable[ReturnPath]
) -> frozenset[str]:
    """The reported recipients, as `mailbox_key` spells them, to whom alone the mail went: one for each proof at the most."""
    named = {one.address for one in report.recipients if one.address}
    mailboxes = {mailbox for address in named if (mailbox := mailbox_key(address))}
    proven = {box for box in mailboxes for path in paths if names_recipient(keys, path, box)}
    proof = report.original.recipient_proof
    if proof is not None and message_id is not None:
        proven |= {box for box in mailboxes if proves_recipient(keys, proof, message_id, box)}
    return frozenset(proven)
