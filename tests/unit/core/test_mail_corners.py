"""Corners of mail for people: rulers, very long texts, reports without a report, verdicts that say no."""

from dataclasses import replace

import pytest

from postlane.core.events.mail import Header
from postlane.core.events.received import Label, ParseStatus
from postlane.core.reading.html_render import render_text
from postlane.core.reading.mail_class import ClassRules, classify_mail
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.reading.reply_text import REPLY_LINES_MAX, trim_reply
from postlane.core.ticket_marks import SigningKeys

RULES = ClassRules(
    frozenset(), frozenset({"mx.example"}), SigningKeys("k1", {"k1": b"a secret for tests"}, "desk.example")
)
MAIL = ParsedMail(parse_status=ParseStatus.OK, text="Hello")


def test_a_ruler_stands_on_a_line_of_its_own() -> None:
    assert render_text("<p>above</p><hr><p>below</p>").split("\n") == [
        "above",
        "",
        "-" * 20,
        "",
        "below",
    ]


def test_a_text_too_long_to_be_a_reply_is_returned_whole() -> None:
    quoted = "On 1 May 2026, Ann <ann@example.org> wrote:\n> old"
    text = "\n" * REPLY_LINES_MAX + f"new\n{quoted}"
    assert trim_reply(text) == text
    assert trim_reply(f"new\n\n{quoted}") == "new"


def test_an_attribution_does_not_reach_over_an_empty_line() -> None:
    text = "On 3 May we met.\n\nand then the press wrote:\n\nnothing"
    assert trim_reply(text) == text


def test_a_delivery_report_without_a_status_part_is_a_bounce() -> None:
    found = classify_mail(replace(MAIL, report_type="delivery-status"), RULES)
    assert [one.label for one in found.classifications] == [Label.BOUNCE]
    assert "without a status part" in found.classifications[0].reason


@pytest.mark.parametrize(
    ("flags", "verdict"),
    [(["NO", "NO"], None), (["NO", "YES"], None), (["YES", "NO"], "spam"), (["YES"], "spam")],
)
def test_the_topmost_flag_is_the_trusted_hosts(flags: list[str], verdict: str | None) -> None:
    headers = tuple(Header(name="X-Spam-Flag", value=flag) for flag in flags)
    assert classify_mail(replace(MAIL, headers=headers), RULES).spam_verdict == verdict
