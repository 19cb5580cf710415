"""Our own mails, each with what must be read from it; the signing key of the corpus is fixed, so its marks are too.

`NAME.toml` beside `NAME.eml` names only what matters in that mail. Lists of attachments are compared key by key, `defects` must be
among those found.
"""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from postlane.core.events.mail import BlobRef
from postlane.core.reading.mail_class import ClassRules, classify_mail
from postlane.core.reading.mail_event import Place, build_event
from postlane.core.reading.mail_reading import ReadRequest, read_mail
from postlane.core.reading.parsed_mail import MailReading
from postlane.core.reports.feedback import build_feedback
from postlane.core.reports.mail_report import read_report
from postlane.core.ticket_marks import SigningKeys

MAILS = Path(__file__).parents[2] / "corpus" / "mails"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
RULES = ClassRules(
    own_addresses=frozenset({"support@desk.example"}),
    trusted_authserv_ids=frozenset({"mx.trusted.example"}),
    keys=SigningKeys("k1", {"k1": b"corpus-signing-secret"}, "desk.example"),
)


def observed(reading: MailReading) -> dict[str, Any]:
    """Everything that an expectation may name."""
    mail = reading.mail
    return {
        "parse_status": mail.parse_status.value,
        "subject": mail.subject,
        "text": mail.text,
        "reply_text": mail.reply_text,
        "sanitized_html": mail.sanitized_html,
        "from": next((one.address for one in mail.from_addresses), None),
        "from_name": next((one.name for one in mail.from_addresses), None),
        "to": [one.address for one in mail.to],
        "cc": [one.address for one in mail.cc],
        "cc_names": [one.name for one in mail.cc],
        "reply_to": [one.address for one in mail.reply_to],
        "date": mail.date.isoformat() if mail.date else None,
        "ticket_id": reading.ticket_id,
        "conflict": reading.conflict,
        "matches": [
            f"{one.kind.value} {one.ticket_id}" + (" verified" if one.verified else "")
            for one in reading.matches
        ],
        "labels": sorted({one.label.value for one in reading.classifications}),
        "may_open": reading.verdicts.may_open,
        "may_reopen": reading.verdicts.may_reopen,
        "may_auto_answer": reading.verdicts.may_auto_answer,
        "spam_verdict": reading.spam_verdict,
        "reported": reported(reading),
        "feedback": feedback(reading),
        "authentication_results": list(reading.authentication_results),
    }


def reported(reading: MailReading) -> list[str]:
    """Whom a report names, with status or reply code, whether it is about mail of ours or not."""
    kind = classify_mail(reading.mail, RULES).report
    recipients = () if kind is None else read_report(reading.mail, kind).recipients
    return [f"{one.address} {one.status or one.smtp_code or '-'}" for one in recipients]


def feedback(reading: MailReading) -> list[str]:
    """What becomes of it on mail.outbound.feedback."""
    if reading.report is None:
        return []
    place = Place(mailbox="support", folder="INBOX", uid_validity=1, uid=1, received_at=NOW)
    event = build_event(place, BlobRef(sha256="0" * 64, size_bytes=1), reading, (), NOW)
    return [
        f"{one.kind.value} {one.recipient} {one.status or one.smtp_code or '-'} {one.permanence.value}"
        + (" proven" if one.recipient_proven else "")
        for one in build_feedback(event, reading.report)
    ]


def attachments(reading: MailReading) -> list[dict[str, Any]]:
    return [
        {
            "filename": one.filename,
            "content_type": one.content_type,
            "disposition": one.disposition.value,
            "size_bytes": len(one.content),
            "content_id": one.content_id,
        }
        for one in reading.mail.attachments
    ]


@pytest.mark.parametrize("path", sorted(MAILS.glob("*.eml")), ids=lambda path: path.stem)
def test_what_is_read_from_a_mail(path: Path) -> None:
    expected = tomllib.loads(path.with_suffix(".toml").read_text(encoding="utf-8"))
    reading = read_mail(ReadRequest(path.read_bytes()), RULES)
    facts = observed(reading)
    found = attachments(reading)
    wanted = expected.pop("attachments", None)
    if wanted is not None:
        assert [{key: one[key] for key in want} for one, want in zip(found, wanted, strict=True)] == wanted
    assert set(expected.pop("defects", [])) <= set(reading.mail.defects)
    if "matches" in expected and "ticket_id" not in expected:
        assert reading.ticket_id is None  # a candidate without our signature decides nothing
    for name in [name for name in expected if name.endswith(("_contains", "_excludes"))]:
        field, _, relation = name.rpartition("_")
        text = (
            {"html": reading.mail.html, "sanitized": reading.mail.sanitized_html}.get(field)
            or facts.get(field)
            or ""
        )
        assert (expected.pop(name) in text) == (relation == "contains")
    assert {name: facts[name] for name in expected} == expected


def test_the_corpus_is_whole() -> None:
    names = {path.stem for path in MAILS.glob("*.eml")}
    assert names == {path.stem for path in MAILS.glob("*.toml")}
    assert len(names) >= 500
