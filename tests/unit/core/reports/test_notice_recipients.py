"""Recipients out of servers' own words; whole mails of each family stand in the corpus."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.reports.notice_recipients import RECIPIENTS_MAX, codes_in, read_recipients

US = frozenset({"desk@desk.example"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<ann@example.org>:\nSorry, no mailbox here. (#5.1.1)", [("ann@example.org", "5.1.1", None)]),
        ("<ann@example.org>: host mx[192.0.2.1] said: 550 5.1.1\n    User unknown", [("ann@example.org", "5.1.1", 550)]),
        ("  ann@example.org\n    Unrouteable address", [("ann@example.org", None, None)]),
        ("ann@example.org on Sat, 21 Nov 2026 10:00:00\n    The recipient name is not recognized", [("ann@example.org", None, None)]),
        ("Ann (ann@example.org)<mailto:ann@example.org>\n\n550 5.2.2 full", [("ann@example.org", "5.2.2", 550)]),
        ("\tRecipient: [SMTP:ann@example.org]\n\tReason: 553 no", [("ann@example.org", None, 553)]),
        ("  Recipient address: ann@example.org\n  Reason: full", [("ann@example.org", None, None)]),
        ("550 5.1.1 ann@example.org... User unknown", [("ann@example.org", "5.1.1", 550)]),
        ("'ann@example.org' on 11/21/2026\n   <mx #5.1.1>", [("ann@example.org", "5.1.1", None)]),
        ("  * ann@example.org\n\nRouting: no gateway", [("ann@example.org", None, None)]),
        ("We could not deliver your mail to ann@example.org, sorry.", [("ann@example.org", None, None)]),
        ("<a@x.test>:\n550 no\n\n<b@x.test>:\n451 later", [("a@x.test", None, 550), ("b@x.test", None, 451)]),
        ("From: other@example.org\nTo: ann@example.org\nnot delivered", [("ann@example.org", None, None)]),
        ("<desk@desk.example>:\nis who gets this; not delivered", []),
        ("connect to 10.5.1.1 failed for <ann@example.org>", [("ann@example.org", None, None)]),
        ("nobody is named", []),
    ],
)  # fmt: skip
def test_each_form_gives_its_recipient(text: str, expected: list[tuple[str, str | None, int | None]]) -> None:
    found = read_recipients(text, US)
    assert [(one.address, one.status, one.smtp_code) for one in found] == expected


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        ("550 5.1.1 no", ("5.1.1", 550)),
        ("550-5.1.1 no", ("5.1.1", 550)),
        ("(#5.7.1)", ("5.7.1", None)),
        ("host 192.5.1.1 said 550 no", (None, 550)),
        ("5.1.1.4 is an address", (None, None)),
        ("in 550 days", (None, 550)),
        ("", (None, None)),
    ],
)
def test_codes_in_words(words: str, codes: tuple[str | None, int | None]) -> None:
    assert codes_in(words) == codes


@given(st.text(alphabet="a@.<>:\n 5-[(\"'", max_size=300))
def test_any_text_is_read(text: str) -> None:
    found = read_recipients(text, US)
    assert len(found) <= RECIPIENTS_MAX
    assert all(one.address and "@" in one.address for one in found)


@pytest.mark.parametrize("hostile", ["a@" * 4000, "<" * 8000, "a." * 4000 + "@x", "- " * 4000, "'" * 8000])
def test_hostile_text_takes_no_time(hostile: str) -> None:
    began = time.process_time()
    read_recipients(hostile, US)
    assert time.process_time() - began < 2.0
