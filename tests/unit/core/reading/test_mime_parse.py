"""Reading hostile and broken mail: tables for what senders do, properties for what nobody has thought of."""

import base64
import time
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postlane.core.events.received import ParseStatus
from postlane.core.reading.charset_names import charset_codec
from postlane.core.reading.mail_class import ClassRules
from postlane.core.reading.mail_reading import Depth, ReadRequest, read_mail
from postlane.core.reading.mime_addresses import ADDRESSES_MAX, parse_addresses, parse_message_ids
from postlane.core.reading.mime_headers import HEADER_BYTES_MAX, HEADERS_MAX, decode_header, split_headers
from postlane.core.reading.mime_parameters import parse_parameters
from postlane.core.reading.mime_parse import DEFECTS_MAX, parse_headers, parse_mail
from postlane.core.reading.mime_parts import DEPTH_MAX, PARTS_MAX, Part, split_parts
from postlane.core.reading.mime_text import clean_text, decode_text
from postlane.core.reading.mime_transfer import decode_base64, decode_transfer
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.ticket_marks import SigningKeys

RULES = ClassRules(
    frozenset(), frozenset({"mx"}), SigningKeys("k1", {"k1": b"a secret for tests"}, "desk.example")
)

# Pieces from which hostile mail is made; between them Hypothesis puts anything.
PIECES = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"--b\r\n", b"--b--\r\n", b"From: ", b"To: a@b, ", b"Subject: ", b"Date: Sat, 21 Nov 2026",
        b"Content-Type: ", b"multipart/mixed; boundary=b\r\n\r\n", b'multipart/alternative; boundary="b"', b"message/rfc822", b"text/html",
        b"text/plain; charset=", b"utf-8", b"utf-16", b"utf-7", b"iso-2022-jp", b"idna", b"hex", b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n", b"Content-Transfer-Encoding: x-uuencode\r\n", b"begin 644 x\r\n",
        b"=?utf-8?b?", b"=?utf-8?q?", b"?=", b"=?", b"filename*0*=utf-8''%ff; filename*1=", b'"', b"\\", b"(", b")", b"<", b">", b";", b":", b",",
        b"<div>", b"<blockquote>", b"&#0;", b"&#xd800;", b"> ", b"-- \r\n", b"wrote:\r\n", b"[#1]", b"[ref:t1.k1aaaaaaaaaaaaaaaa]", b"\x00", b"\xff\xfe", b"\xed\xa0\x80",
        b"+AAAA-", b"+2AA-", b"\x1b$B", b"Message-ID: <", b"References: ", b"@", b"Content-Disposition: attachment; filename=",
    ]
)  # fmt: skip
HOSTILE = st.lists(PIECES | st.binary(max_size=20), max_size=60).map(b"".join)


def is_carriable(text: str | None) -> bool:
    """Whether UTF-8, Avro and databases take it."""
    return text is None or ("\x00" not in text and text.encode("utf-8").decode("utf-8") == text)


def texts_of(mail: ParsedMail) -> list[str | None]:
    addresses = (*mail.from_addresses, *mail.to, *mail.cc, *mail.reply_to)
    return [
        mail.subject,
        mail.text,
        mail.html,
        mail.sanitized_html,
        mail.reply_text,
        mail.message_id,
        *mail.references,
        *mail.delivered_to,
        *(header.value for header in mail.headers),
        *(address.address for address in addresses),
        *(address.name for address in addresses),
        *(one.filename for one in mail.attachments),
        *(one.content_type for one in mail.attachments),
        *mail.defects,
    ]


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(raw=HOSTILE)
def test_any_bytes_become_a_reading_that_events_can_carry(raw: bytes) -> None:
    reading = read_mail(ReadRequest(raw), RULES)
    assert all(is_carriable(text) for text in texts_of(reading.mail))
    assert reading.mail.parse_status in (ParseStatus.OK, ParseStatus.DEFECTIVE)
    assert (reading.mail.parse_status is ParseStatus.OK) == (not reading.mail.defects)
    assert len(reading.mail.defects) <= DEFECTS_MAX
    assert reading.ticket_id is None  # nobody can guess a signature
    assert all("/" not in one.filename and one.filename.strip(". ") for one in reading.mail.attachments)


@given(raw=HOSTILE)
def test_headers_alone_say_the_same_as_the_whole_mail(raw: bytes) -> None:
    whole, head = parse_mail(raw), parse_headers(raw, "too large")
    assert (head.subject, head.from_addresses, head.message_id) == (
        whole.subject,
        whole.from_addresses,
        whole.message_id,
    )
    assert head.parse_status is ParseStatus.HEADERS_ONLY
    assert head.defects[0] == "too large"
    assert read_mail(ReadRequest(raw, Depth.HEADERS, "too large"), RULES).mail == head


@given(raw=HOSTILE)
def test_parts_are_slices_of_the_mail_within_the_limits(raw: bytes) -> None:
    content = raw if b"\n" in raw else raw.replace(b"\r", b"\n")

    def walk(part: Part, depth: int) -> int:
        assert depth <= DEPTH_MAX
        assert part.body in content
        return 1 + sum(walk(child, depth + 1) for child in part.children)

    assert walk(split_parts(raw).root, 0) <= PARTS_MAX


@given(value=st.binary(max_size=300) | HOSTILE)
def test_header_values_never_fail_and_never_hold_line_ends(value: bytes) -> None:
    text = decode_header(value)
    assert "\r" not in text
    assert "\n" not in text
    assert is_carriable(text)
    parse_parameters(value)
    assert all(is_carriable(one.address) and is_carriable(one.name) for one in parse_addresses(value))
    parse_message_ids(text)


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=50))
def test_what_was_encoded_right_is_read_right(text: str) -> None:
    assert decode_text(text.encode(), "utf-8") == (text.removeprefix("\ufeff"), None)
    assert clean_text(text) == text


@given(content=st.binary(max_size=200), noise=st.sampled_from([b"", b"\r\n", b" ", b"!", b"\r\n\t"]))
def test_base64_survives_stray_bytes_and_missing_padding(content: bytes, noise: bytes) -> None:
    encoded = base64.b64encode(content)
    assert decode_base64(noise.join(encoded[i : i + 5] for i in range(0, len(encoded), 5)))[0] == content
    assert decode_base64(encoded.rstrip(b"="))[0] == content


BOMBS = {
    "semicolons": b"Content-Type: " + b";" * 60_000 + b"\r\n\r\nx",
    "quoted semicolons": b'Content-Type: a/b; x="' + b'";"' * 20_000 + b"\r\n\r\nx",
    "open brackets": b"From: " + b"<" * 60_000 + b"\r\n\r\nx",
    "open comments": b"From: " + b"(" * 60_000 + b"\r\n\r\nx",
    "open quotes": b"From: " + b'"\\' * 30_000 + b"\r\n\r\nx",
    "commas": b"To: " + b"," * 60_000 + b"\r\n\r\nx",
    "encoded words without an end": b"Subject: " + b"=?utf-8?q?" * 6_000 + b"\r\n\r\nx",
    "encoded word marks": b"Subject: " + b"=?" * 30_000 + b"?=\r\n\r\nx",
    "references": b"References: " + b"<" * 30_000 + b"@" * 30_000 + b"\r\n\r\nx",
    "date": b"Date: " + b"1 " * 30_000 + b"\r\n\r\nx",
    "headers": b"X: y\r\n" * 200_000 + b"\r\nx",
    "folded header": b"X: " + b"\r\n y" * 200_000 + b"\r\n\r\nx",
    "lines that are no headers": b"x\r\nY: z\r\n" * 100_000,
    "parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 100_000,
    "nesting": b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(5000)
    ),
    "same boundary again": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" * 5000,
    "nested messages": b"Content-Type: message/rfc822\r\n\r\n" * 20_000,
    "nested tags": b"Content-Type: text/html\r\n\r\n" + b"<div>" * 200_000,
    "ampersands": b"Content-Type: text/html\r\n\r\n" + b"&" * 1_000_000,
    "angle brackets": b"Content-Type: text/html\r\n\r\n" + b"<" * 1_000_000,
    "open formatting": b"Content-Type: text/html\r\n\r\n"
    + b"".join(b"<font id=%d>" % n for n in range(9000))
    + b"<p>x</p>" * 2000,
    "attributes": b"Content-Type: text/html\r\n\r\n<a " + b" ".join(b"a%d" % n for n in range(60_000)),
    "flowed lines": b"Content-Type: text/plain; format=flowed\r\n\r\n" + b"a \r\n" * 200_000,
    "quotes": b"\r\n" + b"> " * 500_000,
    "attributions": b"\r\n" + b"On 1 wrote:\r\n" * 20_000,
    "body markers": b"\r\n" + b"[ref:t" * 200_000,
    "one long line": b"\r\n" + b"x" * 5_000_000,
    "quoted printable": b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"=" * 2_000_000,
    "base64": b"Content-Transfer-Encoding: base64\r\n\r\n" + b"=" * 2_000_000,
    "uuencode": b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 1 x\r\n" + b"M\r\n" * 200_000,
    "utf-7": b"Content-Type: text/plain; charset=utf-7\r\n\r\n" + b"+" * 500_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_read_well_within_the_parsers_time_limit(name: str) -> None:
    began = time.process_time()
    reading = read_mail(ReadRequest(BOMBS[name]), RULES)
    # No timing of ours: the service's default limit, after which the mail would count as unreadable.
    assert time.process_time() - began < 10.0
    assert reading.mail.parse_status in (ParseStatus.OK, ParseStatus.DEFECTIVE)


def test_limits_cut_and_say_so() -> None:
    long = split_headers(b"X: " + b"y" * (HEADER_BYTES_MAX + 10) + b"\r\n\r\n", 0, HEADER_BYTES_MAX + 20)
    assert len(long.fields[0].value) <= HEADER_BYTES_MAX
    assert any("longer than" in defect for defect in long.defects)
    many = b"X: y\r\n" * (HEADERS_MAX + 5)
    assert len(split_headers(many, 0, len(many)).fields) == HEADERS_MAX
    assert len(parse_addresses(b"a@b," * (ADDRESSES_MAX + 10))) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?a_b=20c?=", "a b c"),
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?=\t\r\n =?iso-8859-1?q?=e4?=", "aä"),
        (b"x =?utf-8?q?a?= y", "x a y"),
        (b"x=?utf-8?q?a?=y", "xay"),
        (b"=?utf-8*en?Q?language?=", "language"),
        (b"=?UTF-8?B?w6Q?=", "ä"),
        (b"=?utf-8?q?with blanks inside?=", "with blanks inside"),
        (b"=?utf-8?q?=41?=", "A"),
        (b"=?utf-8?x?unknown?=", "=?utf-8?x?unknown?="),
        (b"=?utf-8?q?open", "open"),
        (b"=?windows-1252?q?=80?=", "€"),
        (b"=?gb2312?B?1f0=?=", "正"),
        (b"caf\xe9", "café"),
        (b"caf\xc3\xa9", "café"),
        (b"in\x00jec\r\ntion", "injec tion"),
        (b"a\r\nBcc: x", "a  Bcc: x"),
        (b"=?utf-8?q?a=0D=0ABcc=3A_x?=", "a  Bcc: x"),
    ],
)
def test_header_text(value: bytes, expected: str) -> None:
    assert " ".join(decode_header(value).split()) == " ".join(expected.split())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@b", [("a@b", "")]),
        (b"<a@b>", [("a@b", "")]),
        (b"Ann <a@b>", [("a@b", "Ann")]),
        (b'"Last, First" <a@b>, c@d', [("a@b", "Last, First"), ("c@d", "")]),
        (b'"with \\"quotes\\"" <a@b>', [("a@b", 'with "quotes"')]),
        (b"a@b (Ann)", [("a@b", "Ann")]),
        (b"Ann (nick) <a@b>", [("a@b", "Ann")]),
        (b"undisclosed-recipients:;", []),
        (b"Team: a@b, Bob <c@d>;, e@f", [("a@b", ""), ("c@d", "Bob"), ("e@f", "")]),
        (b"<@relay,@other:a@b>", [("a@b", "")]),
        (b"=?utf-8?q?M=C3=BCller=2C_Jan?= <a@b>", [("a@b", "Müller, Jan")]),
        (b"=?utf-8?q?a=40b?=", [("a@b", "")]),
        (b"a@b; c@d", [("a@b", ""), ("c@d", "")]),
        (b"a@b,,;c@d,", [("a@b", ""), ("c@d", "")]),
        (b"'Ann' <a@b>", [("a@b", "Ann")]),
        (b"Ann", [("", "Ann")]),
        (b"<>", []),
        (b"", []),
        (b"Ann <a@b", [("a@b", "Ann")]),
        (b'"Ann <a@b>', [("a@b", "Ann")]),
        (b"Ann (open <a@b>", [("a@b", "Ann open")]),
        (b"a @ b", [("a@b", "")]),
        (b"<mailto:a@b>", [("a@b", "")]),
        (b'"a b"@c', [('"a b"@c', "")]),
        (b"J\xf6rg <a@b>", [("a@b", "Jörg")]),
    ],
)
def test_addresses(value: bytes, expected: list[tuple[str, str]]) -> None:
    assert [(one.address, one.name) for one in parse_addresses(value)] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<a@b>", ["<a@b>"]),
        ("<a@b> <c@d>", ["<a@b>", "<c@d>"]),
        ("<a@b><c@d>", ["<a@b>", "<c@d>"]),
        ("<a@b>,<c@d>", ["<a@b>", "<c@d>"]),
        ("<a b@c>", ["<ab@c>"]),
        ("a@b, c@d", ["<a@b>", "<c@d>"]),
        ("(comment) <a@b>", ["<a@b>"]),
        ("<a@b> <a@b>", ["<a@b>"]),
        ("no id at all", []),
        ("<no-at-sign>", ["<no-at-sign>"]),
    ],
)
def test_message_ids(value: str, expected: list[str]) -> None:
    assert list(parse_message_ids(value)) == expected


def test_long_references_keep_the_root_and_the_newest() -> None:
    ids = parse_message_ids(" ".join(f"<{number}@x>" for number in range(500)))
    assert len(ids) == 100
    assert (ids[0], ids[1], ids[-1]) == ("<0@x>", "<401@x>", "<499@x>")


@pytest.mark.parametrize(
    ("value", "main", "parameters"),
    [
        (b"text/plain", "text/plain", {}),
        (b"TEXT/Plain; Charset=UTF-8", "text/plain", {"charset": "UTF-8"}),
        (b'a/b; x="y;z"; q=1', "a/b", {"x": "y;z", "q": "1"}),
        (b"a/b; name*=utf-8''%C3%A4", "a/b", {"name": "ä"}),
        (b"a/b; name*0=a; name*1=b", "a/b", {"name": "ab"}),
        (b"a/b; name*1=b; name*0=a", "a/b", {"name": "ab"}),
        (b"a/b; name*0*=iso-8859-1'de'%E4; name*1=%41", "a/b", {"name": "ä%41"}),
        (b"a/b; name*=''plain", "a/b", {"name": "plain"}),
        (b"a/b; name*=no-quotes", "a/b", {"name": "no-quotes"}),
        (b"a/b; name=old; name*=utf-8''new", "a/b", {"name": "new"}),
        (b"a/b; name=first; name=second", "a/b", {"name": "first"}),
        (b"a/b; name=with blanks.txt", "a/b", {"name": "with blanks.txt"}),
        (b'a/b; name="open', "a/b", {"name": "open"}),
        (b'a/b; name="=?utf-8?q?=C3=A4?="', "a/b", {"name": "ä"}),
        (b"a/b;;; =x; y", "a/b", {}),
        (b"", "", {}),
    ],
)
def test_parameters(value: bytes, main: str, parameters: dict[str, str]) -> None:
    found = parse_parameters(value)
    assert (found.value, found.parameters) == (main, parameters)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UTF-8", "utf-8"),
        ('"utf8"', "utf-8"),
        ("us-ascii", "utf-8"),
        ("iso-8859-1", "cp1252"),
        ("latin1", "cp1252"),
        ("gb2312", "gb18030"),
        ("ks_c_5601-1987", "cp949"),
        ("shift-jis", "cp932"),
        ("iso-2022-jp", "iso2022_jp_ms"),
        ("iso-8859-8-i", "iso8859-8"),
        ("unicode-1-1-utf-7", "utf-7"),
        ("hex", None),
        ("idna", None),
        ("punycode", None),
        ("unicode_escape", None),
        ("no-such-charset", None),
        ("", None),
        ("x" * 5000, None),
        ("\x00", None),
    ],
)
def test_charset_names(name: str, codec: str | None) -> None:
    assert charset_codec(name) == codec


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        (b"\xef\xbb\xbfwords", "iso-8859-1", "words"),
        ("ä".encode("utf-16"), None, "ä"),
        (b"\xe4", None, "ä"),
        (b"\xe4", "utf-8", "ä"),
        ("ä".encode(), "us-ascii", "ä"),
        (b"\x80", "iso-8859-1", "€"),
        (b"\x81\x8d", "windows-1252", "\ufffd\ufffd"),
        ("한".encode("cp949"), "ks_c_5601-1987", "한"),
        (b"+2AA-", "utf-7", "\ufffd"),
    ],
)
def test_text_of_charsets(content: bytes, charset: str | None, text: str) -> None:
    assert decode_text(content, charset)[0] == text


@pytest.mark.parametrize(
    "encoding", ["", "7bit", "8bit", "BINARY", "base64", "Quoted-Printable", "x-uue", "no-such"]
)
def test_every_transfer_encoding_takes_every_byte(encoding: str) -> None:
    content, wrong = decode_transfer(bytes(range(256)) * 3, encoding)
    assert isinstance(content, bytes)
    assert (wrong is None) == (
        encoding.lower() in ("", "7bit", "8bit", "binary", "quoted-printable", "base64")
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Sat, 21 Nov 2026 10:00:00 +0100 (CET)", datetime(2026, 11, 21, 9, tzinfo=UTC)),
        ("Sat, 21 Nov 2026 10:00:00 -0000", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("21 Nov 26 10:00 GMT", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("yesterday", None),
        ("Sat, 31 Feb 2026 10:00:00 +0000", None),
        ("Sat, 21 Nov 2026 10:00:00 +9999999999", None),
        ("Thu, 1 Jan 1970 00:00:00 +0000", None),
        ("Sat, 21 Nov 9999 23:59:59 -2359", None),
        ("0", None),
    ],
)
def test_dates(value: str, expected: datetime | None) -> None:
    assert parse_mail(f"Date: {value}\r\n\r\n".encode()).date == expected
