"""What mail is wrapped in: TNEF, RTF, opaque S/MIME, uuencode, yEnc, invitations. Honest ones are in the corpus; here are the others."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.reading.calendar_text import calendar_text
from postlane.core.reading.embedded_files import FILES_MAX, take_files
from postlane.core.reading.rtf_text import RTF_BYTES_MAX, decompress_rtf, read_rtf
from postlane.core.reading.signed_content import is_enveloped, signed_content
from postlane.core.reading.tnef import ATTACHMENTS_MAX, DEPTH_MAX, read_tnef

TNEF = pack("<IH", 0x223E9F78, 1)
SIGNED = bytes.fromhex("06092a864886f70d010702")


def attribute(number: int, value: bytes, length: int | None = None) -> bytes:
    return pack("<BHHI", 1, number, 0, len(value) if length is None else length) + value + b"\0\0"


def properties(*values: bytes) -> bytes:
    return attribute(0x9003, pack("<I", len(values)) + b"".join(values))


@given(st.binary(max_size=400))
def test_no_bytes_end_the_unpacking(content: bytes) -> None:
    container = read_tnef(TNEF + content)
    assert container is not None
    assert all(isinstance(file.content, bytes) for file in container.files)
    signed_content(content)
    decompress_rtf(content)
    take_files(content)
    calendar_text(content.decode("latin-1"))


@given(
    st.lists(
        st.sampled_from(
            [
                b"\x30\x80",
                b"\xa0\x80",
                b"\x24\x80",
                b"\x04\x02ab",
                b"\0\0",
                SIGNED,
                b"\x02\x01\x01",
                b"\x31\0",
            ]
        ),
        max_size=60,
    )
)
def test_pieces_of_cms_never_end_the_unwrapping(pieces: list[bytes]) -> None:
    found = signed_content(b"".join(pieces))
    assert found is None or set(found) <= set(b"ab")


def test_deep_nesting_of_cms_is_refused() -> None:
    head = b"\x30\x80" + SIGNED + b"\xa0\x80\x30\x80\x02\x01\x01\x31\x00\x30\x80" + SIGNED + b"\xa0\x80"
    assert signed_content(head + b"\x24\x80" * 3 + b"\x04\x02ab") == b"ab"
    assert signed_content(head + b"\x24\x80" * 5000 + b"\x04\x02ab") is None
    assert not is_enveloped(head)


# The two examples of [MS-OXRTFCP] section 3.
@pytest.mark.parametrize(
    ("compressed", "rtf"),
    [
        (
            "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0",
            b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n",
        ),
        ("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0", b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"),
    ],
)
def test_compressed_rtf(compressed: str, rtf: bytes) -> None:
    assert decompress_rtf(bytes.fromhex(compressed)) == rtf


def test_a_bomb_of_compressed_rtf_stops_at_the_limit() -> None:
    bomb = pack("<II4sI", 0, 2**31, b"LZFu", 0) + (b"\xff" + b"\x00\x0f" * 8) * 200_000
    assert len(decompress_rtf(bomb)) <= RTF_BYTES_MAX + 17 * 8


@pytest.mark.parametrize(
    ("rtf", "html", "text"),
    [
        (rb"{\rtf1 one\par two\tab three}", None, "one\ntwo\tthree"),
        (rb"{\rtf1 {\*\generator x}{\fonttbl{\f0 Arial;}}{\pict 00ff}words}", None, "words"),
        (rb"{\rtf1\ansicpg1251 \'cf\'f0\'e8}", None, "При"),
        (rb"{\rtf1\uc1\u55357?\u56832? ok}", None, "\U0001f600 ok"),
        (rb"{\rtf1\uc2\u8364ab\{\}\\}", None, "€{}\\"),
        (rb"{\rtf1\fromhtml1{\*\htmltag <p>}\htmlrtf hidden\htmlrtf0 a &amp; b{\*\htmltag </p>}}", "<p>a &amp; b</p>", None),
        (rb"{\rtf1 " + b"{" * 2000 + b"deep" + b"}" * 2000, None, "deep"),
    ],
)  # fmt: skip
def test_rtf_as_text(rtf: bytes, html: str | None, text: str | None) -> None:
    found = read_rtf(rtf)
    assert found is not None
    assert (found.html, found.text) == (html, text)


def test_what_is_no_rtf_says_nothing() -> None:
    assert read_rtf(b"words") is None
    assert decompress_rtf(pack("<II4sI", 0, 5, b"????", 0) + b"words") == b""


def test_a_container_that_lies_about_its_lengths_gives_what_came_before() -> None:
    broken = read_tnef(TNEF + attribute(0x800C, b"words\0") + attribute(0x800C, b"", length=2**31))
    assert broken is not None
    assert (broken.text, broken.whole) == ("words", False)
    assert read_tnef(b"words") is None


def test_a_container_with_too_many_files_is_cut() -> None:
    many = read_tnef(TNEF + attribute(0x9002, b"") * (ATTACHMENTS_MAX + 1))
    assert many is not None
    assert (len(many.files), many.whole) == (ATTACHMENTS_MAX, False)


def test_properties_with_names_and_several_values_are_passed_over() -> None:
    named = (
        pack("<HH", 0x1F, 0x8001)
        + b"\0" * 16
        + pack("<II", 1, 4)
        + b"x\0y\0"
        + pack("<II", 1, 4)
        + b"z\0\0\0"
    )
    several = pack("<HH", 0x1003, 0x0001) + pack("<III", 2, 7, 8)
    text = pack("<HHII", 0x1E, 0x1000, 1, 6) + b"words\0\0\0"
    found = read_tnef(TNEF + properties(named, several, text))
    assert found is not None
    assert (found.text, found.whole) == ("words", True)


def test_messages_attached_to_messages_end_somewhere() -> None:
    inner = TNEF + attribute(0x800C, b"innermost\0")
    for _ in range(DEPTH_MAX + 5):
        value = b"\0" * 16 + inner
        held = pack("<HHII", 0x0D, 0x3701, 1, len(value)) + value + b"\0" * (-len(value) % 4)
        inner = TNEF + attribute(0x9002, b"") + attribute(0x9005, pack("<I", 1) + held)
    found = read_tnef(inner)
    assert found is not None
    assert found.files


def test_embedded_files_have_a_limit() -> None:
    text, files = take_files(b"begin 644 x\n#86)C\n`\nend\n" * (FILES_MAX + 3))
    assert len(files) == FILES_MAX
    assert text.count(b"begin") == 3
    assert files[0].content == b"abc"


@pytest.mark.parametrize(
    ("calendar", "text"),
    [
        ("", ""),
        ("BEGIN:VEVENT\nEND:VEVENT", ""),
        ("METHOD:REPLY\nBEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT", "REPLY\nSummary: x"),
        ("BEGIN:VEVENT\nSUMMARY;LANGUAGE=de:a\\;b\\\\c\nDTSTART:soon\nEND:VEVENT", "Summary: a;b\\c\nStart: soon"),
        ("BEGIN:VTODO\nDUE:20261124T140000Z\nSUMMARY:x\nEND:VTODO", "Summary: x\nDue: 2026-11-24 14:00 UTC"),
    ],
)  # fmt: skip
def test_invitations_as_text(calendar: str, text: str) -> None:
    assert calendar_text(calendar) == text
