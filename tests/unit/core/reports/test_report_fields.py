"""Field groups of reports, also as senders break them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.reports.report_fields import address_of, read_groups, recipient_groups, untyped


def recipients(text: str) -> list[dict[str, str]]:
    return [dict(group.fields) for group in recipient_groups(read_groups(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; a@b.test\nAction: failed\n", [{"final-recipient": "rfc822; a@b.test", "action": "failed"}]),
        ("Reporting-MTA: dns; mx\nFinal-Recipient: a\nAction: failed", [{"final-recipient": "a", "action": "failed"}]),
        ("Final-Recipient: a\n\nAction: failed\n\nStatus: 5.1.1", [{"final-recipient": "a", "action": "failed", "status": "5.1.1"}]),
        ("Final-Recipient: a\nAction: failed\nFinal-Recipient: b\nAction: delayed", [{"final-recipient": "a", "action": "failed"}, {"final-recipient": "b", "action": "delayed"}]),
        ("Original-Recipient: a\nFinal-Recipient: b\nAction: failed\n\nOriginal-Recipient: c\nFinal-Recipient: d", [{"original-recipient": "a", "final-recipient": "b", "action": "failed"}, {"original-recipient": "c", "final-recipient": "d"}]),
        ("Action: failed\nFinal-Recipient: a\nStatus: 5.0.0", [{"action": "failed", "final-recipient": "a", "status": "5.0.0"}]),  # Exim
        ("Final-Recipient: a\nDiagnostic-Code: smtp; 550\n  no such\n\tuser", [{"final-recipient": "a", "diagnostic-code": "smtp; 550 no such user"}]),
        ("no fields at all", []),
    ],
)  # fmt: skip
def test_one_group_per_recipient(text: str, expected: list[dict[str, str]]) -> None:
    assert recipients(text) == expected
    assert recipients(text.replace("\n", "\r\n")) == expected


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822; ann@example.org", "ann@example.org"),
        ("RFC822;<ann@example.org>", "ann@example.org"),
        ("utf-8; änn@example.org", "änn@example.org"),
        ("<ann@example.org>", "ann@example.org"),
        ("ann@example.org", "ann@example.org"),
        ("x400; /S=ann/O=example/", None),
        ("rfc822;", None),
        (None, None),
    ],
)
def test_recipient_fields_give_their_address(value: str | None, address: str | None) -> None:
    assert address_of(value) == address


def test_types_are_taken_off() -> None:
    assert untyped("dns; mx.example") == "mx.example"
    assert untyped("smtp; 550 no; really") == "550 no; really"
    assert untyped("dns;") is None


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    for group in recipient_groups(read_groups(text)):
        assert group.fields
