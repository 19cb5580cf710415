"""What kind of mail this is, by signs with the words that showed them, and what is advised: open, reopen, answer by machine.

Advice only: the consumer decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from postlane.core.events.received import Classification, Verdicts
from postlane.core.reading.mail_signs import (
    ACTION,
    ANSWER_PREFIX,
    ANSWERABLE,
    AUTO_REPLY_SUBJECT,
    AUTO_REPLY_TEXT,
    AUTO_REPLY_WORDS,
    CALENDAR_METHOD,
    FEEDBACK_TYPE,
    HEADER_RULES,
    HOTMAIL_COMPLAINT,
    LABELS,
    NO_COMPLAINTS,
    OPENS_NOTHING,
    REOPENS_NOTHING,
    REPORTS,
    SNS_COMPLAINT,
    SPAM_RULES,
    STATUS,
    SUCCESSES,
    Sign,
)
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.reading.subject_signs import ThreadSign, thread_sign
from postlane.core.reports.bounce_signs import find_notice, is_delay
from postlane.core.reports.report import ReportKind
from postlane.core.return_paths import read_return_path
from postlane.core.ticket_marks import SigningKeys, read_message_id
from postlane.core.writing.mime_build import LOOP_HEADER

REASON_CHARACTERS_MAX = 120
SIGNS_MAX = 20
OPENING_CHARACTERS_MAX = 300
# What Exchange alone writes: help desks set the other signs on their agents' answers as well.
OF_EXCHANGE = ("X-MS-Exchange-Parent-Message-Id", "X-MS-Exchange-Generated-Message-Source", "Thread-Index")
SNS_CHARACTERS_MAX = 2000  # the type stands at the beginning

_DELIVERY_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})
_DISPOSITION = frozenset({"message/disposition-notification", "message/global-disposition-notification"})
_CALENDAR = frozenset({"text/calendar", "application/ics"})
_NOTICE_SIGNS = {ReportKind.BOUNCE: Sign.BOUNCE, ReportKind.DELAY: Sign.DELAY}
_RULE_KEYS = [name.lower() for name, _, _ in HEADER_RULES]
_THREAD_SIGNS = {
    ThreadSign.FORWARDED: Sign.FORWARDED,
    ThreadSign.SUBJECT_CHANGED: Sign.SUBJECT_CHANGED,
}
_REPORT_KINDS = {
    Sign.COMPLAINT: ReportKind.COMPLAINT,
    Sign.BOUNCE: ReportKind.BOUNCE,
    Sign.DELAY: ReportKind.DELAY,
    Sign.DELIVERED: ReportKind.DELIVERED,
}
# Signs that a machine had a hand in it: beside one of them, words of absence in the subject are an automatic reply.
_MACHINE = frozenset({Sign.AUTO_GENERATED, Sign.ANSWER_UNWANTED, Sign.BULK})


@dataclass(frozen=True, slots=True)
class ClassRules:
    """What this installation knows: its own addresses, whose verdicts it believes, its signing keys."""

    own_addresses: frozenset[str]
    trusted_authserv_ids: frozenset[str]
    keys: SigningKeys


@dataclass(frozen=True, slots=True)
class MailClass:
    """Labels with reasons, the three verdicts, what trusted hosts said, and which kind of report about our mail this is, if any."""

    classifications: tuple[Classification, ...]
    verdicts: Verdicts
    authentication_results: tuple[str, ...]
    spam_verdict: str | None
    report: ReportKind | None


def classify_mail(mail: ParsedMail, rules: ClassRules) -> MailClass:
    """Look for every sign; later rules are tried whatever earlier ones found."""
    found: dict[Sign, str] = {}
    for sign, reason in _signs(mail, rules):
        found.setdefault(sign, reason[:REASON_CHARACTERS_MAX])
    _find_notice(mail, found)
    _find_return_path(mail, rules.keys, found)
    _find_automatic_reply(mail, found)
    if found.keys() & REPORTS:
        for sign in (Sign.AUTO_REPLY, Sign.BULK):
            if said := found.pop(sign, None):
                found.setdefault(Sign.AUTO_GENERATED, said)
    signs = frozenset(found)
    classes = (Classification(label=LABELS[sign], reason=reason) for sign, reason in found.items())
    return MailClass(
        tuple(classes)[:SIGNS_MAX],
        Verdicts(
            may_open=not signs & OPENS_NOTHING,
            may_reopen=not signs & REOPENS_NOTHING,
            may_auto_answer=signs <= ANSWERABLE and mail.return_path != "",
        ),
        _trusted_results(mail, rules),
        "spam" if Sign.SPAM in signs else None,
        next((kind for sign, kind in _REPORT_KINDS.items() if sign in signs), None),
    )


def _signs(mail: ParsedMail, rules: ClassRules) -> Iterator[tuple[Sign, str]]:
    yield from _loop_signs(mail, rules)
    yield from _report_signs(mail)
    yield from _header_signs(mail)
    if "multipart/digest" in mail.part_types:
        yield Sign.LIST, "part of type multipart/digest"
    if rules.trusted_authserv_ids:
        yield from _spam_signs(mail)
    yield from _calendar_signs(mail)
    if thread := thread_sign(mail):
        yield _THREAD_SIGNS[thread.sign], thread.reason


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
    if kinds & _DISPOSITION:
        yield Sign.MDN, "part of type message/disposition-notification"
    elif mail.report_type == "disposition-notification":
        yield Sign.MDN, "multipart/report without a disposition part"
    if "message/feedback-report" in kinds or mail.report_type == "feedback-report":
        found = FEEDBACK_TYPE.search(mail.report_text)
        kind = found[1].lower() if found else "of no type"
        yield (
            Sign.AUTO_GENERATED if kind in NO_COMPLAINTS else Sign.COMPLAINT,
            f"feedback report: {kind}",
        )
    elif HOTMAIL_COMPLAINT.search(mail.subject) and "message/rfc822" in kinds:
        yield Sign.COMPLAINT, f"Subject: {mail.subject}, with the mail that it is about"
    elif found := SNS_COMPLAINT.search((mail.text or "")[:SNS_CHARACTERS_MAX]):
        yield Sign.COMPLAINT, f"text: {found[0]}"
    if kinds & _DELIVERY_STATUS:
        yield _delivery_sign(mail)
    elif mail.report_type == "delivery-status":
        sign = Sign.DELAY if is_delay(mail) else Sign.BOUNCE
        yield sign, "multipart/report without a status part"


def _delivery_sign(mail: ParsedMail) -> tuple[Sign, str]:
    """By the actions (RFC 3464 section 2.3.3); where senders leave them out, by the classes of the status codes."""
    actions = [action.lower() for action in ACTION.findall(mail.report_text)]
    reason = f"delivery status: {', '.join(dict.fromkeys(actions)) or 'no action named'}"
    classes = set(STATUS.findall(mail.report_text))
    if "failed" in actions:
        return Sign.BOUNCE, reason
    if "delayed" in actions:
        return Sign.DELAY, reason
    if (actions and SUCCESSES.issuperset(actions)) or (not actions and classes == {"2"}):
        return Sign.DELIVERED, reason
    return (Sign.DELAY if is_delay(mail) else Sign.BOUNCE), reason


def _header_signs(mail: ParsedMail) -> Iterator[tuple[Sign, str]]:
    decided: set[str] = set()
    values_by_name = mail.headers_by_name()
    for (name, pattern, sign), key in zip(HEADER_RULES, _RULE_KEYS, strict=True):
        if key not in values_by_name or name in decided:
            continue
        for value in values_by_name[key]:
            if pattern.search(value):
                decided.add(name)
                yield sign, f"{name}: {value}"
                break
    if mail.header_values("X-MS-Exchange-Inbox-Rules-Loop") and mail.header_values(
        "X-Auto-Response-Suppress"
    ):
        yield Sign.AUTO_REPLY, "X-MS-Exchange-Inbox-Rules-Loop beside X-Auto-Response-Suppress"


def _find_notice(mail: ParsedMail, found: dict[Sign, str]) -> None:
    """Bounces that are no reports: 45 of 100, known by their words."""
    if found.keys() & REPORTS:
        return
    notice = find_notice(mail, answers_by_machine=Sign.AUTO_REPLY in found)
    if notice is not None:
        found[_NOTICE_SIGNS[notice.kind]] = notice.reason[:REASON_CHARACTERS_MAX]


def _find_return_path(mail: ParsedMail, keys: SigningKeys, found: dict[Sign, str]) -> None:
    """Machines alone answer there (RFC 3834 section 4), be it with words that say nothing of it."""
    if found.keys() & REPORTS:
        return
    for address in (*mail.delivered_to, *(one.address for one in mail.to)):
        path = read_return_path(keys, address)
        if path is not None and path.mark.verified:
            reason = f"sent to our return path {address}"
            found.setdefault(Sign.ANSWER_UNWANTED, reason[:REASON_CHARACTERS_MAX])
            return


def _find_automatic_reply(mail: ParsedMail, found: dict[Sign, str]) -> None:
    """What several signs show together: a subject's words are the weakest of them."""
    if Sign.AUTO_REPLY in found or found.keys() & REPORTS:
        return
    signs = _MACHINE - {Sign.BULK} if Sign.LIST in found else _MACHINE
    machine = next((found[sign] for sign in found if sign in signs), None)
    if machine is None and mail.return_path == "":
        machine = "Return-Path: <>"
    # People answer absences, too, and put Re: before them.
    answers = bool(mail.in_reply_to or mail.references) and not ANSWER_PREFIX.match(mail.subject)
    if template := AUTO_REPLY_SUBJECT.match(mail.subject):
        found[Sign.AUTO_REPLY] = f"Subject: {template[0]}"
    elif (machine or answers) and (words := AUTO_REPLY_WORDS.search(mail.subject)):
        found[Sign.AUTO_REPLY] = f"Subject: {words[0]}, {machine or 'in reply'}"[:REASON_CHARACTERS_MAX]
    elif (
        {Sign.AUTO_GENERATED, Sign.ANSWER_UNWANTED} <= found.keys()
        and answers
        and Sign.LIST not in found
        and any(mail.header_values(name) for name in OF_EXCHANGE)
    ):
        found[Sign.AUTO_REPLY] = f"{machine}, in reply"[:REASON_CHARACTERS_MAX]
    elif Sign.LIST not in found and (
        said := AUTO_REPLY_TEXT.match((mail.text or "")[:OPENING_CHARACTERS_MAX])
    ):
        found[Sign.AUTO_REPLY] = f"text: {said[0].strip()}"[:REASON_CHARACTERS_MAX]


def _spam_signs(mail: ParsedMail) -> Iterator[tuple[Sign, str]]:
    """The topmost header of each name: the trusted host wrote it last."""
    for name, pattern in SPAM_RULES:
        value = next(iter(mail.header_values(name)), "")
        if pattern.search(value):
            yield Sign.SPAM, f"{name}: {value}"
            return


def _trusted_results(mail: ParsedMail, rules: ClassRules) -> tuple[str, ...]:
    """The topmost Authentication-Results, where a trusted host wrote it. Those below came with the mail (RFC 8601 section 5), ARC's are hearsay."""
    topmost = mail.header_values("Authentication-Results")[:1]
    return tuple(value for value in topmost if _authserv_id(value) in rules.trusted_authserv_ids)


def _calendar_signs(mail: ParsedMail) -> Iterator[tuple[Sign, str]]:
    """RFC 5546: a REQUEST may be answered, an answer not."""
    kind = next((kind for kind in mail.part_types if kind in _CALENDAR), None)
    if kind is None:
        return
    parts = (part.content for part in mail.attachments if part.content_type in _CALENDAR)
    methods = {found[1].decode().upper() for part in parts if (found := CALENDAR_METHOD.search(part))}
    sign = Sign.CALENDAR_ANSWER if methods & {"REPLY", "COUNTER", "DECLINECOUNTER"} else Sign.CALENDAR
    yield sign, f"part of type {kind}" + (f", METHOD {min(methods)}" if methods else "")


def _authserv_id(value: str) -> str:
    """The host that vouches for the results: RFC 8601 section 2.2, comments and quotes allowed, a version number behind it."""
    head = value.strip().partition(";")[0]
    while head.startswith("("):
        head = head.partition(")")[2].strip()
    return head.strip().partition(" ")[0].partition("(")[0].strip('"').lower()
