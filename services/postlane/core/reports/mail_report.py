"""From a mail that is a report to what it says: machine-readable fields first, then the server's own words."""

from collections.abc import Iterable
from dataclasses import replace

from postlane.core.mark_text import untagged
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.reports.bounce_signs import notice_text
from postlane.core.reports.notice_recipients import (
    DIAGNOSTIC_CHARACTERS_MAX,
    RECIPIENTS_MAX,
    codes_in,
    read_recipients,
)
from postlane.core.reports.original_mail import read_original
from postlane.core.reports.report import MailReport, OriginalMail, ReportedRecipient, ReportKind
from postlane.core.reports.report_fields import (
    FieldGroup,
    address_of,
    read_groups,
    recipient_groups,
    untyped,
)

_DELIVERY_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_FEEDBACK = "message/feedback-report"
FIELD_BYTES_MAX = 64 * 1024
RETURN_PATHS_MAX = 20  # a report comes to one; a longer list is an attempt to make us work
NOBODY = ReportedRecipient(address=None)


def read_report(mail: ParsedMail, kind: ReportKind) -> MailReport:
    """What a mail of this kind reports. Only a mail that classify_mail called a report is worth asking about."""
    original = read_original(mail)
    if kind is ReportKind.COMPLAINT:
        groups = read_groups(_part_text(mail, {_FEEDBACK}))
        sender = original.return_path or address_of(_first(groups, "original-mail-from"))
        original = replace(original, return_path=sender)
        recipients = _complainants(groups, original)
    else:
        groups = read_groups(_part_text(mail, _DELIVERY_STATUS))
        recipients = _delivery(groups, mail, original)
    return MailReport(
        kind=kind,
        recipients=recipients[:RECIPIENTS_MAX] or (NOBODY,),
        original=original,
        return_paths=_return_paths(mail, original),
        reporting_mta=_first(groups, "reporting-mta"),
    )


def _return_paths(mail: ParsedMail, original: OriginalMail) -> tuple[str, ...]:
    """A bounce comes to the return path; complaints go elsewhere, and name it (RFC 5965 section 3.2)."""
    named = () if original.return_path is None else (original.return_path,)
    addresses = (*named, *mail.delivered_to, *(address.address for address in mail.to))
    return tuple(dict.fromkeys(addresses))[:RETURN_PATHS_MAX]


def _delivery(
    groups: Iterable[FieldGroup], mail: ParsedMail, original: OriginalMail
) -> tuple[ReportedRecipient, ...]:
    text = notice_text(mail)
    fields = recipient_groups(groups)
    if not fields and "final-recipient:" in (mail.text or "").lower():  # it lost its MIME types on the way
        fields = recipient_groups(read_groups((mail.text or "")[:FIELD_BYTES_MAX]))
    declared = tuple(_declared(group) for group in fields)
    # A return path with a tag is the same mailbox: notices often name it as the sender of the mail.
    own = {address.address.lower() for address in (*mail.to, *mail.from_addresses)}
    strangers = own | {untagged(address) for address in own}
    told = read_recipients(text, strangers)
    if declared:
        return tuple(_completed(one, told, only=len(declared) == 1) for one in declared)
    if failed := _failed_recipients(mail):
        return tuple(
            _completed(ReportedRecipient(address=one), told, only=len(failed) == 1) for one in failed
        )
    if told:
        return told
    if len(original.recipients) == 1:
        status, code = codes_in(text)
        return (ReportedRecipient(address=original.recipients[0], status=status, smtp_code=code),)
    return ()


def _declared(group: FieldGroup) -> ReportedRecipient:
    """One recipient's fields (RFC 3464 section 2.3). A code in the server's own words is better than a status that says only 5.0.0."""
    diagnostic = untyped(group.first("diagnostic-code")) or ""
    status, _ = codes_in(group.first("status") or "")
    said, code = codes_in(diagnostic)
    if said and (status is None or status.endswith(".0.0")) and (status or said)[0] == said[0]:
        status = said
    action = (group.first("action") or "").split()
    return ReportedRecipient(
        address=address_of(group.first("final-recipient")) or address_of(group.first("original-recipient")),
        original=address_of(group.first("original-recipient")),
        action=action[0].lower().strip("();,") if action else None,
        status=status,
        smtp_code=code,
        diagnostic=diagnostic[:DIAGNOSTIC_CHARACTERS_MAX],
        remote_mta=untyped(group.first("remote-mta")),
    )


def _completed(
    one: ReportedRecipient, told: tuple[ReportedRecipient, ...], *, only: bool
) -> ReportedRecipient:
    """What fields leave open, from the words about the same recipient."""
    same = [
        other for other in told if one.address is None or (other.address or "").lower() == one.address.lower()
    ]
    words = same[0] if same and (one.address is not None or (only and len(told) == 1)) else NOBODY
    return replace(
        one,
        address=one.address or words.address,
        status=one.status or words.status,
        smtp_code=one.smtp_code or words.smtp_code,
        diagnostic=one.diagnostic or words.diagnostic,
    )


def _failed_recipients(mail: ParsedMail) -> tuple[str, ...]:
    """Exim's and Gmail's header."""
    values = ",".join(mail.header_values("X-Failed-Recipients"))
    found = (one.strip(" <>") for one in values.split(","))
    return tuple(dict.fromkeys(one for one in found if "@" in one))


def _complainants(groups: Iterable[FieldGroup], original: OriginalMail) -> tuple[ReportedRecipient, ...]:
    """RFC 5965 section 3.2; many providers black the address out, then the mail itself may tell."""
    named = [
        address
        for group in groups
        for name in ("original-rcpt-to", "removal-recipient")
        for value in group.all(name)
        if (address := address_of(value))
    ]
    if not named and len(original.recipients) == 1:
        named = list(original.recipients)
    return tuple(ReportedRecipient(address=address) for address in dict.fromkeys(named))


def _part_text(mail: ParsedMail, kinds: Iterable[str]) -> str:
    wanted = frozenset(kinds)
    parts = (part.content for part in mail.attachments if part.content_type in wanted)
    return "\n\n".join(part[:FIELD_BYTES_MAX].decode("utf-8", "replace") for part in parts)


def _first(groups: Iterable[FieldGroup], name: str) -> str | None:
    return next((value for group in groups if (value := untyped(group.first(name)))), None)
