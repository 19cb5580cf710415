"""What kind of mail this is, by signs with the words that showed them, and what is advised: open, reopen, answer by machine.

Advice only: the consumer decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from postlane.core.events.mail import Address
from postlane.core.events.received import Classification, Verdicts
from postlane.core.reading.mail_signs import (
    ACTION,
    ANSWERABLE,
    AUTO_REPLY_SUBJECT,
    BOUNCE_SUBJECT,
    DAEMON,
    DELAY_SUBJECT,
    HEADER_RULES,
    LABELS,
    OPENS_NOTHING,
    POSTMASTER,
    REOPENS_NOTHING,
    SPAM_RULES,
    Sign,
)
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.ticket_marks import SigningKeys, read_message_id
from postlane.core.writing.mime_build import LOOP_HEADER

REASON_CHARACTERS_MAX = 120
SIGNS_MAX = 20


@dataclass(frozen=True, slots=True)
class ClassRules:
    """What this installation knows: its own addresses, whose verdicts it believes, its signing keys."""

    own_addresses: frozenset[str]
    trusted_authserv_ids: frozenset[str]
    keys: SigningKeys


@dataclass(frozen=True, slots=True)
class MailClass:
    """Labels with reasons, the three verdicts, and what trusted hosts said."""

    classifications: tuple[Classification, ...]
    verdicts: Verdicts
    authentication_results: tuple[str, ...]
    spam_verdict: str | None


def classify_mail(mail: ParsedMail, rules: ClassRules) -> MailClass:
    """Look for every sign; later rules are tried whatever earlier ones found."""
    trusted = tuple(
        value
        for value in mail.header_values("Authentication-Results")
        if _authserv_id(value) in rules.trusted_authserv_ids
    )
    found: dict[Sign, str] = {}
    for sign, reason in _signs(mail, rules):
        found.setdefault(sign, reason[:REASON_CHARACTERS_MAX])
    signs = frozenset(found)
    classes = (Classification(label=LABELS[sign], reason=reason) for sign, reason in found.items())
    return MailClass(
        tuple(classes)[:SIGNS_MAX],
        Verdicts(
            may_open=not signs & OPENS_NOTHING,
            may_reopen=not signs & REOPENS_NOTHING,
            may_auto_answer=signs <= ANSWERABLE and mail.return_path != "",
        ),
        trusted,
        "spam" if Sign.SPAM in signs else None,
    )


def _signs(mail: ParsedMail, rules: ClassRules) -> Iterator[tuple[Sign, str]]:
    yield from _loop_signs(mail, rules)
    yield from _report_signs(mail)
    yield from _header_signs(mail)
    yield from _sender_signs(mail)
    if found := AUTO_REPLY_SUBJECT.match(mail.subject):
        yield Sign.AUTO_REPLY, f"Subject: {found[0]}"
    if rules.trusted_authserv_ids:
        yield from _spam_signs(mail)
    calendar = next((kind for kind in mail.part_types if kind in ("text/calendar", "application/ics")), None)
    if calendar:
        yield Sign.CALENDAR, f"part of type {calendar}"


def _loop_signs(mail: ParsedMail, rules: ClassRules) -> Iterator[tuple[Sign, str]]:
    mark = read_message_id(rules.keys, mail.message_id) if mail.message_id else None
    if mark is not None and mark.verified:
        yield Sign.OWN_LOOP, f"Message-ID: {mail.message_id}"
    own_domain = rules.keys.domain.lower()
    if own_domain in (value.strip().lower() for value in mail.header_values(LOOP_HEADER)):
        yield Sign.OWN_LOOP, f"{LOOP_HEADER}: {own_domain}"
    senders = (*mail.from_addresses, *((mail.sender,) if mail.sender else ()))
    for sender in senders:
        if sender.address.lower() in rules.own_addresses:
            yield Sign.OWN_LOOP, f"From: {sender.address}"


def _report_signs(mail: ParsedMail) -> Iterator[tuple[Sign, str]]:
    """Machine-readable reports: RFC 3464 (delivery), RFC 8098 (disposition), RFC 5965 (abuse)."""
    kinds = set(mail.part_types)
    if kinds & {"message/disposition-notification", "message/global-disposition-notification"}:
        yield Sign.MDN, "part of type message/disposition-notification"
    if "message/feedback-report" in kinds:
        yield Sign.COMPLAINT, "part of type message/feedback-report"
    if kinds & {"message/delivery-status", "message/global-delivery-status"}:
        actions = [action.lower() for action in ACTION.findall(mail.report_text)]
        yield (
            _delivery_sign(actions),
            f"delivery status: {', '.join(dict.fromkeys(actions)) or 'no action named'}",
        )
    elif mail.report_type == "delivery-status":
        yield Sign.BOUNCE, "multipart/report without a status part"


def _delivery_sign(actions: list[str]) -> Sign:
    if "failed" in actions or not actions:
        return Sign.BOUNCE
    return Sign.DELAY if "delayed" in actions else Sign.AUTO_GENERATED


def _header_signs(mail: ParsedMail) -> Iterator[tuple[Sign, str]]:
    decided: set[str] = set()
    for name, pattern, sign in HEADER_RULES:
        if name in decided:
            continue
        for value in mail.header_values(name):
            if pattern.search(value):
                decided.add(name)
                yield sign, f"{name}: {value}"
                break


def _sender_signs(mail: ParsedMail) -> Iterator[tuple[Sign, str]]:
    """Bounces that are no reports: 45 of 100, known by their sender."""
    senders: tuple[Address, ...] = mail.from_addresses
    local = senders[0].address.rpartition("@")[0] or senders[0].address if senders else ""
    null_path = mail.return_path == ""
    daemon = bool(DAEMON.match(local)) or (not local and null_path)
    likely = daemon or (
        bool(POSTMASTER.match(local)) and (null_path or bool(BOUNCE_SUBJECT.search(mail.subject)))
    )
    if not likely or "message/delivery-status" in mail.part_types or mail.report_type is not None:
        return
    who = f"From: {senders[0].address or senders[0].name}" if senders else "Return-Path: <>"
    if DELAY_SUBJECT.search(mail.subject):
        yield Sign.DELAY, f"{who}, Subject: {mail.subject}"
    else:
        yield Sign.BOUNCE, who


def _spam_signs(mail: ParsedMail) -> Iterator[tuple[Sign, str]]:
    for name, pattern in SPAM_RULES:
        for value in mail.header_values(name):
            if pattern.search(value):
                yield Sign.SPAM, f"{name}: {value}"
                return


def _authserv_id(value: str) -> str:
    """RFC 8601 section 2.2: the host that vouches for the results."""
    return value.strip().partition(";")[0].strip().partition(" ")[0].lower()
