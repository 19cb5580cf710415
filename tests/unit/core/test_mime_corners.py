"""Corners of MIME that few senders reach: each is read as well as it can be, and said so where it is wrong."""

import binascii

import pytest

from postlane.core.reading.mime_headers import split_headers
from postlane.core.reading.mime_parameters import PARAMETERS_MAX, parse_parameters
from postlane.core.reading.mime_parse import parse_mail
from postlane.core.reading.mime_parts import split_parts
from postlane.core.reading.mime_transfer import decode_transfer


def multipart(*parts: str, kind: str = "mixed", preamble: str = "") -> bytes:
    body = "".join(f"--b\r\n{part}\r\n" for part in parts)
    head = f"From: a@example.org\r\nContent-Type: multipart/{kind}; boundary=b\r\n\r\n"
    return f"{head}{preamble}{body}--b--\r\n".encode()


def uuencoded(*lines: bytes) -> bytes:
    return b"\n".join([b"begin 644 x", *lines, b"`", b"end", b""])


def test_the_last_section_that_is_counted_still_counts() -> None:
    sections = "".join(f"; filename*{index}=x" for index in range(PARAMETERS_MAX))
    found = parse_parameters(f"attachment{sections}".encode())
    assert found.parameters["filename"] == "x" * PARAMETERS_MAX


def test_sections_without_a_first_one_still_name_something() -> None:
    found = parse_parameters(b"attachment; filename*1=b; filename*2=c; size=3")
    assert found.parameters == {"filename": "bc", "size": "3"}


def test_what_a_related_part_shows_without_a_name_is_text() -> None:
    raw = multipart(
        "Content-Type: text/html\r\n\r\n<p>root</p>", "Content-Type: text/plain\r\n\r\nbelow", kind="related"
    )
    mail = parse_mail(raw)
    assert mail.html is not None
    assert "root" in mail.html
    assert "below" in f"{mail.html}{mail.text}"
    assert mail.attachments == ()


def test_a_line_of_blanks_ends_the_headers_as_an_empty_one_does() -> None:
    raw = b"Subject: one\r\n   \r\nbody"
    block = split_headers(raw, 0, len(raw))
    assert raw[block.body_at :].strip() == b"body"
    assert [field.name.lower() for field in block.fields] == ["subject"]


def test_mixed_line_ends_are_said() -> None:
    raw = b"From: a@example.org\rSubject: old\r\r" + b"x" * 2000 + b"\nend"
    assert "line ends are mixed" in split_parts(raw).defects


@pytest.mark.parametrize("boundary", ['""', "x" * 300])
def test_a_multipart_without_a_usable_boundary_is_text(boundary: str) -> None:
    tree = split_parts(f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\nwords".encode())
    assert "a multipart has no usable boundary" in tree.defects
    assert (tree.root.children, tree.root.body) == ((), b"words")


def test_of_two_content_types_the_first_counts() -> None:
    tree = split_parts(b"Content-Type: text/html\r\nContent-Type: text/plain\r\n\r\n<p>x</p>")
    assert tree.root.content_type.value == "text/html"
    assert "Content-Type is given more than once" in tree.defects


def test_an_empty_part_is_a_part() -> None:
    head = b"Content-Type: multipart/mixed; boundary=b\n\n"
    tree = split_parts(head + b"--b\n--b\n\nwords\n--b--\n")
    assert [child.body for child in tree.root.children] == [b"", b"words"]


@pytest.mark.parametrize("surplus", [b"", b"X", b"XYZ"])
def test_uuencoded_lines_with_padding_of_any_length_are_read(surplus: bytes) -> None:
    line = binascii.b2a_uu(b"Cat").rstrip(b"\n")
    assert decode_transfer(uuencoded(line + surplus), "x-uuencode") == (b"Cat", None)


def test_a_broken_uuencoded_line_is_left_out_and_said() -> None:
    line = binascii.b2a_uu(b"Cat").rstrip(b"\n")
    decoded, wrong = decode_transfer(uuencoded(line, b"#{}{}", line), "x-uuencode")
    assert decoded == b"CatCat"
    assert wrong is not None
    assert "broken lines" in wrong
