"""Reading a mail, from raw bytes to all the evidence: parse, match, classify. Pure, and meant to run in a process that can be killed."""

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from postlane.core.reading.mail_class import ClassRules, classify_mail
from postlane.core.reading.mime_parse import parse_headers, parse_mail, unreadable_mail
from postlane.core.reading.parsed_mail import MailReading, ParsedMail
from postlane.core.reading.ticket_match import match_ticket
from postlane.core.reports.mail_report import read_report
from postlane.core.reports.proof import prove_report


class Depth(StrEnum):
    """How much of a mail to read."""

    WHOLE = "whole"
    HEADERS = "headers"


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One job: the raw bytes (with `HEADERS` the header block is enough) and, for less than the whole, the reason."""

    raw: bytes
    depth: Depth = Depth.WHOLE
    why: str = ""


def read_mail(request: ReadRequest, rules: ClassRules) -> MailReading:
    """Everything that one mail tells."""
    match request.depth:
        case Depth.WHOLE:
            return weigh(parse_mail(request.raw), rules)
        case Depth.HEADERS:
            return weigh(parse_headers(request.raw, request.why), rules)
        case _:
            assert_never(request.depth)


def unreadable(why: str, rules: ClassRules) -> MailReading:
    """The reading of a mail that ended every process that tried."""
    return weigh(unreadable_mail(why), rules)


def weigh(mail: ParsedMail, rules: ClassRules) -> MailReading:
    """Match and classify what was parsed."""
    kind = classify_mail(mail, rules)
    report = None if kind.report is None else read_report(mail, kind.report)
    match = match_ticket(mail, rules.keys, None if report is None else report.original)
    proven = None if report is None else prove_report(report, rules.keys, match.ticket_id)
    return MailReading(
        mail=mail,
        verdicts=kind.verdicts,
        ticket_id=match.ticket_id,
        matches=match.candidates,
        conflict=match.conflict,
        classifications=kind.classifications,
        authentication_results=kind.authentication_results,
        spam_verdict=kind.spam_verdict,
        report=proven,
    )
