"""The quick ways to read what nearly every mail has give what the thorough ones give."""

# ruff: noqa: RUF001 - words of other languages stand here in their own letters

from datetime import UTC
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.mail import Address
from postlane.core.reading.mime_addresses import parse_addresses
from postlane.core.reading.mime_parameters import parse_parameters
from postlane.core.reading.mime_parse import parse_mail
from postlane.core.reading.mime_text import clean_text, decode_text, unix_lines
from postlane.core.reading.mime_transfer import decode_base64
from postlane.core.reading.reply_signs import is_separator, lines_of_programs
from postlane.core.reading.reply_text import trim_reply
from postlane.core.reports.bounce_phrases import ODD_CASES, SENTENCES

# A comment, which changes nothing, sends a list the thorough way.
COMMENT = b" ()"
LISTS = st.text('aB1 .,"<>@-+;:', max_size=40).map(str.encode)
SENTENCES_OF_SERVERS = st.lists(
    st.sampled_from(
        [
            "This is the mail system at host x. ",
            "USER UNKNOWN",
            "Konnte nicht zugestellt werden",
            "не удалось доставить",
            "НЕ УДАЛОСЬ ДОСТАВЛЕН",
            "impossible de délivrer",
            "IMPOSSIBLE DE DÉLIVRER",
            '"notificationType" : "Bounce"',
            "----- Transcript of session follows",
            "mailbox is full",
            "K ß Ä",
            "\n",
        ]
    )
).map(" ".join)


@given(LISTS)
def test_ordinary_addresses_are_read_as_any_others(value: bytes) -> None:
    thorough = parse_addresses(value + COMMENT)
    assert parse_addresses(value) == (thorough if value else ())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"ann@example.org", [("ann@example.org", "")]),
        (b"<ann@example.org>", [("ann@example.org", "")]),
        (b"Ann  B. Example <ann@example.org>", [("ann@example.org", "Ann B. Example")]),
        (b'"Example, Ann" <ann@example.org>', [("ann@example.org", "Example, Ann")]),
        (b"Ann <a@example.org>, b@example.org", [("a@example.org", "Ann"), ("b@example.org", "")]),
    ],
)
def test_ordinary_addresses(value: bytes, expected: list[tuple[str, str]]) -> None:
    assert parse_addresses(value) == tuple(Address(address=address, name=name) for address, name in expected)


@pytest.mark.parametrize(
    "written",
    [
        "Mon, 02 Nov 2026 08:00:00 +0100",
        "Mon, 2 Nov 2026 08:00:00 -0730 (PST)",
        "Thu, 31 Dec 2026 23:59:59 -0000",
        "Thu, 29 Feb 2024 00:00:00 +1400",
    ],
)
def test_dates(written: str) -> None:
    known = parsedate_to_datetime(written)
    utc = known.astimezone(UTC) if known.tzinfo else known.replace(tzinfo=UTC)
    assert parse_mail(f"Date: {written}\n\n".encode()).date == utc


@pytest.mark.parametrize("written", ["Mon, 31 Feb 2026 08:00:00 +0100", "Mon, 02 Nov 2026 24:00:00 +0100"])
def test_a_day_that_is_none_is_a_defect(written: str) -> None:
    mail = parse_mail(f"Date: {written}\n\n".encode())
    assert mail.date is None
    assert "Date cannot be read" in mail.defects


@given(SENTENCES_OF_SERVERS)
def test_lower_case_finds_the_same_sentences(text: str) -> None:
    assert ODD_CASES.isdisjoint(text)
    for rule in SENTENCES:
        assert bool(rule.pattern.search(text)) == bool(rule.lowered.search(text.lower()))


@pytest.mark.parametrize(
    "line",
    [
        "-----Original Message-----",
        "> ---- URSPRÜNGLICHE NACHRICHT ----",
        "\u00a0Begin forwarded message:",
        "----- ORİJİNAL MESAJ -----",
        "Message d’origine",
        "---- Исходное сообщение ----",
        "===== 元のメッセージ =====",
        "## Please type your reply above this line ##",
        "type your reply above this line",
        "Bitte antworten Sie über dieser Linie",
        "_____ 원본 이메일 _____",
        "Pôvodná správa",
    ],
)
def test_separators(line: str) -> None:
    assert lines_of_programs(["", line, "Words of the writer"]) == [1]
    assert is_separator(line)
    assert trim_reply(f"New words\n\n{line}\nold words") == "New words"


@pytest.mark.parametrize("line", ["Originally I had another message", "I originali", "an über", "> the best"])
def test_words_are_no_separators(line: str) -> None:
    assert not is_separator(line)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"aGFsbG8=\r\n", b"hallo"),
        (b"aGFs\nbG8=\n", b"hallo"),
        (b"aGFsbG8", b"hallo"),
        (b"aGFs!bG8=", b"hallo"),
        (b"aGE=aGE=", b"haha"),
        (b"", b""),
    ],
)
def test_base64(content: bytes, expected: bytes) -> None:
    assert decode_base64(content)[0] == expected


@given(st.binary(max_size=60))
def test_quoted_parameters_end_where_their_quotes_do(content: bytes) -> None:
    inner = content.translate(None, b'"\\=%?')
    parsed = parse_parameters(b'a/b; x="' + inner + b';y=1\\""; z="2"')
    assert parsed.parameters["z"] == "2"
    assert "y" not in parsed.parameters


@given(st.text("a\r\nü"))
def test_lines_end_in_lf(text: str) -> None:
    lines = unix_lines(text)
    assert "\r" not in lines
    assert lines.replace("\n", "") == text.replace("\r", "").replace("\n", "")


def test_unfit_characters_are_taken_out() -> None:
    assert clean_text("a\x00b\ud800ü") == "ab\ufffdü"
    assert decode_text("\ufeffü".encode(), "utf-8") == ("ü", None)
