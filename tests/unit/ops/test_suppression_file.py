"""Files of addresses to be suppressed, good and bad."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.addresses import mailbox_key
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.suppression_file import BadFile, BadLine, Wanted, read_cause, read_file, read_lines

NOW = datetime(2026, 11, 22, tzinfo=UTC)
GIVEN = Wanted(address="", cause="manual", reason="imported", until=None)


def read(text: str) -> list[Wanted | BadLine]:
    return list(read_lines(text.splitlines(keepends=True), GIVEN, NOW))


def wanted(
    address: str, cause: str = "manual", reason: str = "imported", until: datetime | None = None
) -> Wanted:
    return Wanted(address=address, cause=cause, reason=reason, until=until)


def test_one_address_a_line() -> None:
    text = "\ufeffKim@Example.org\r\n\r\n# gone\r\n  lee@example.org  \n"
    assert read(text) == [wanted("kim@example.org"), wanted("lee@example.org")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_a_header_line(delimiter: str) -> None:
    text = (
        "Address,Cause,Reason,Expires\n"
        'kim@example.org,complaint,"""spam""",90d\n'
        "lee@example.org,,,2027-01-31\n"
        "mo@example.org\n"
    ).replace(",", delimiter)
    assert read(text) == [
        wanted("kim@example.org", "complaint", '"spam"', NOW + timedelta(days=90)),
        wanted("lee@example.org", until=datetime(2027, 1, 31, tzinfo=UTC)),
        wanted("mo@example.org"),
    ]


def test_columns_stand_in_any_order() -> None:
    assert read("reason,email\nbounced,kim@example.org\n") == [wanted("kim@example.org", reason="bounced")]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("kim", "'kim' is not a mail address such as kim@example.org"),
        ("Kim <kim@example.org>", "is not a mail address"),
        ("kim@example.org,Complaint", "'Complaint' is not a cause: lower-case letters"),
        ("kim@example.org,c,r,yesterday", "'yesterday' is neither a span"),
        ("kim@example.org,c,r,2020-01-01", "it would be over already: 2020-01-01 00:00 lies in the past"),
        ("kim@example.org,c,r,9999999999d", ""),
        ("kim@example.org,c,r,1d,more", "5 columns where 4 are named"),
        ('kim@example.org,c,"r,1d', "unexpected end of data"),
        ("k" * 10_001, "it has more than 10000 characters"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(line: str, fault: str) -> None:
    first, bad, last = read(f"address,cause,reason,expires\na@x.example\n{line}\nb@x.example\n")
    assert isinstance(bad, BadLine)
    assert bad.number == 3
    assert fault in bad.fault
    assert (first, last) == (wanted("a@x.example"), wanted("b@x.example"))


def test_a_second_column_needs_a_header_line() -> None:
    (bad,) = read("kim@example.org,complaint\n")
    assert bad == BadLine(1, "2 columns where 1 are named; a header line names them")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it names no address"),
        ("# only a remark\n\n", "it names no address"),
        ("kim\nlee\n", "its first line is neither an address nor a header"),
        ('address,"cause\n', "its first line cannot be read as CSV: unexpected end of data"),
        ("cause,reason\n", "its first line is neither an address nor a header"),
        ("address,colour\n", "unknown column 'colour'; known are address, cause, reason, expires"),
        ("email,address\n", "its first line is neither an address nor a header"),
    ],
)
def test_a_file_that_is_no_list_is_refused_as_a_whole(text: str, complaint: str) -> None:
    with pytest.raises(BadFile, match=complaint):
        read(text)


def test_the_last_line_of_an_address_wins(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("address,cause\nkim@x.example,first\nbad\nKIM@x.example,second\n", encoding="utf-8")
    assert read_file(str(path), GIVEN, NOW) == (
        {"kim@x.example": wanted("kim@x.example", "second")},
        [BadLine(3, "'bad' is not a mail address such as kim@example.org")],
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"", "it names no address"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_wrong_use(
    content: bytes | None, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "list.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CommandFailed, match=complaint) as failed:
        read_file(str(path), GIVEN, NOW)
    assert failed.value.code == Exit.USAGE


@pytest.mark.parametrize("text", ["", "Complaint", "5xx", "a-b", "a" * 41, "a\n"])
def test_causes_are_tokens(text: str) -> None:
    with pytest.raises(ValueError, match="is not a cause"):
        read_cause(text)


@given(st.text(max_size=80))
def test_any_text_gives_addresses_or_bad_lines_and_nothing_else(text: str) -> None:
    try:
        found = read(text)
    except BadFile:
        return
    assert found
    for one in found:
        assert isinstance(one, BadLine) or mailbox_key(one.address) is not None
