"""Header fields and parts that need care: they read back as they were."""

from dataclasses import replace
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import Message

import pytest

from fakes.mail_reader import REQUEST, addresses, body, build, leaves, normal, parse, words
from fakes.mail_reader import filename as read_filename
from postlane.core.events.mail import Address, Header
from postlane.core.events.request import RequestedAttachment
from postlane.core.writing.mime_write import LINE_MAX


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain", "7bit"),
        ("x" * LINE_MAX, "7bit"),
        ("x" * (LINE_MAX + 1), "quoted-printable"),
        ("Grüße aus der Küche", "quoted-printable"),
        ("こんにちは、世界", "base64"),
        ("a\0b", "quoted-printable"),
        ("--=_m0123", "quoted-printable"),
        (".\n..\nFrom here", "7bit"),
        ("", "7bit"),
    ],
)
def test_the_encoding_of_a_body(text: str, encoding: str) -> None:
    message = parse(build(replace(REQUEST, text=text)))
    assert message["Content-Transfer-Encoding"] == encoding
    assert normal(body(message)).startswith(text)


@pytest.mark.parametrize(
    "name",
    [
        "Support, Desk",
        'Kim "the Boss" O\'Hara \\',
        "Müller, Jürgen",
        "=?utf-8?q?not_encoded?=",
        "a@b.example",
        "(x)",
        "名前" * 60,
        "x" * 255,
        '"' * 255,
    ],
)
def test_names_that_need_care(name: str) -> None:
    message = parse(build(replace(REQUEST, to=(Address(address="kim@example.org", name=name),) * 2)))
    assert addresses(message, "To") == [(name, "kim@example.org")] * 2


@pytest.mark.parametrize(
    "subject",
    ["", " ", "  two  blanks ", "=?utf-8?q?x?=", "tab\there", "x" * 1000, "ä" * 1000, "word " * 199 + "x"],
)
def test_subjects_that_need_care(subject: str) -> None:
    message = parse(build(replace(REQUEST, subject=subject)))
    assert words(message, "Subject") == subject
    modern = message_from_bytes(build(replace(REQUEST, subject=subject)).content, policy=policy.default)
    assert modern["Subject"].split() == subject.split()


@pytest.mark.parametrize(
    "filename",
    [
        "report.pdf",
        'a "b" \\ c.txt',
        "Übersicht.pdf",
        "報告" * 100 + ".pdf",
        "%41.txt",
        "=?utf-8?q?x?=.txt",
        "",
    ],
)
def test_file_names(filename: str) -> None:
    attachment = RequestedAttachment(filename=filename, content_type="application/pdf", content=b"%PDF")
    built = build(replace(REQUEST, attachments=(attachment,)))
    part = leaves(parse(built))[1]
    assert read_filename(part) == filename
    assert part["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("content_type", "content", "written"),
    [
        ("message/rfc822", b"Subject: x\n\nhi\n", "message/rfc822"),
        ("message/rfc822", "Subject: x\n\nhü\n".encode(), "application/octet-stream"),
        ("message/rfc822", b"x" * 2000, "application/octet-stream"),
        ("multipart/mixed; boundary=x", b"--x--", "application/octet-stream"),
    ],
)
def test_parts_that_must_not_be_encoded(content_type: str, content: bytes, written: str) -> None:
    attachment = RequestedAttachment(filename="mail.eml", content_type=content_type, content=content)
    message = parse(build(replace(REQUEST, attachments=(attachment,))))
    part = message.get_payload(1)
    assert isinstance(part, Message)
    assert part.get_content_type() == written
    if written == "message/rfc822":
        assert part.get_payload(0)["Subject"] == "x"  # type: ignore[index]
    else:
        assert part.get_payload(decode=True) == content


def test_custom_headers_are_kept_in_order() -> None:
    headers = (
        Header(name="X-Queue", value="Störung"),
        Header(name="List-Id", value="a <b>"),
        Header(name="X-Empty", value=""),
        Header(name="X-Queue", value="2"),
    )
    message = parse(build(replace(REQUEST, headers=headers)))
    found = [str(make_header(decode_header(value))) for value in message.get_all("X-Queue", [])]
    assert found == ["Störung", "2"]
    assert message["List-Id"] == "a <b>"
    assert message["X-Empty"] == ""


def test_mail_to_a_non_ascii_local_part_has_headers_in_utf_8() -> None:
    built = build(replace(REQUEST, to=(Address(address="jürgen@münchen.example"),)))
    assert built.recipients == ("jürgen@xn--mnchen-3ya.example",)
    assert "To: jürgen@xn--mnchen-3ya.example\r\n" in built.content.decode()
