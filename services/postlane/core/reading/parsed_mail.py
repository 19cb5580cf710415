"""What reading one mail gives, before anything of it is stored: plain values that cross process borders."""

from dataclasses import dataclass, field
from datetime import datetime

from postlane.core.events.mail import Address, Disposition, Header
from postlane.core.events.received import Classification, MatchCandidate, ParseStatus, Verdicts
from postlane.core.reports.report import ProvenReport


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedAttachment:
    """A part that is not body, decoded; `filename` is safe to be a file's name."""

    filename: str
    content_type: str
    disposition: Disposition
    content: bytes
    content_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedMail:
    """One mail's headers and bodies. `part_types` are the types of every part, `report_type` that of multipart/report.

    `report_text` is the machine-readable part of a report (RFC 3464, RFC 8098, RFC 5965).
    """

    parse_status: ParseStatus
    defects: tuple[str, ...] = ()
    headers: tuple[Header, ...] = ()
    message_id: str | None = None
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    date: datetime | None = None
    from_addresses: tuple[Address, ...] = ()
    sender: Address | None = None
    reply_to: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    delivered_to: tuple[str, ...] = ()
    return_path: str | None = None
    subject: str = ""
    text: str | None = None
    html: str | None = None
    sanitized_html: str | None = None
    reply_text: str | None = None
    attachments: tuple[ParsedAttachment, ...] = ()
    part_types: tuple[str, ...] = ()
    report_type: str | None = None
    report_text: str = ""
    values_by_name: dict[str, tuple[str, ...]] | None = field(
        default=None, init=False, repr=False, compare=False
    )  # kept once asked for

    def header_values(self, name: str) -> tuple[str, ...]:
        """The decoded values of every header of that name (case-insensitive), topmost first."""
        return self.headers_by_name().get(name.lower(), ())

    def headers_by_name(self) -> dict[str, tuple[str, ...]]:
        """The decoded values by lower-case name, topmost first; for who asks for many names."""
        if self.values_by_name is None:
            found: dict[str, tuple[str, ...]] = {}
            for header in self.headers:
                name = header.name.lower()
                found[name] = (*found.get(name, ()), header.value)
            object.__setattr__(self, "values_by_name", found)
        return self.values_by_name or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailReading:
    """A parsed mail with what core.reading.ticket_match and core.reading.mail_class say about it; `report` where it reports about mail of ours."""

    mail: ParsedMail
    verdicts: Verdicts
    ticket_id: str | None = None
    matches: tuple[MatchCandidate, ...] = ()
    conflict: bool = False
    classifications: tuple[Classification, ...] = ()
    authentication_results: tuple[str, ...] = ()
    spam_verdict: str | None = None
    report: ProvenReport | None = None
