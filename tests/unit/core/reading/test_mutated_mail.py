"""Mails of the corpus, broken at random: cut, spliced, flipped, nested, their headers doubled. Whatever comes out is read."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postlane.core.events.received import ParseStatus
from postlane.core.reading.mail_class import ClassRules
from postlane.core.reading.mail_reading import ReadRequest, read_mail
from postlane.core.reading.mime_parse import DEFECTS_MAX, parse_headers
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.ticket_marks import SigningKeys

CORPUS = Path(__file__).parents[3] / "corpus" / "mails"
SEED_BYTES_MAX = 50_000  # larger ones only make the search slow
SEEDS = [
    raw for path in sorted(CORPUS.glob("*.eml")) if len(raw := path.read_bytes()) <= SEED_BYTES_MAX and raw
]
RULES = ClassRules(
    frozenset(), frozenset({"mx"}), SigningKeys("k1", {"k1": b"a secret for tests"}, "desk.example")
)
TYPES = st.sampled_from(
    [
        b"message/rfc822",
        b"text/html",
        b"text/calendar",
        b"text/plain; format=flowed; delsp=yes",
        b"text/plain; charset=utf-16",
        b"text/plain; charset=iso-2022-jp",
        b"application/pkcs7-mime",
        b"application/ms-tnef",
        b"multipart/mixed; boundary=b",
    ]
)
LINE_ENDS = st.sampled_from([b"\r\n", b"\r", b"\n\n", b"\r\r\n", b"\x00\n"])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One mail of the corpus after one to six accidents."""
    mail = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 6))):
        mail = draw(st.sampled_from(ACCIDENTS))(draw, mail)
    return mail


def _place(draw: st.DrawFn, mail: bytes) -> int:
    return draw(st.integers(0, len(mail)))


def cut(draw: st.DrawFn, mail: bytes) -> bytes:
    return mail[: _place(draw, mail)]


def leave_out(draw: st.DrawFn, mail: bytes) -> bytes:
    begin = _place(draw, mail)
    return mail[:begin] + mail[begin + draw(st.integers(1, 500)) :]


def splice(draw: st.DrawFn, mail: bytes) -> bytes:
    other = draw(st.sampled_from(SEEDS))
    return mail[: _place(draw, mail)] + other[_place(draw, other) :]


def flip(draw: st.DrawFn, mail: bytes) -> bytes:
    if not mail:
        return mail
    at = draw(st.integers(0, len(mail) - 1))
    return mail[:at] + bytes([mail[at] ^ (1 << draw(st.integers(0, 7)))]) + mail[at + 1 :]


def repeat(draw: st.DrawFn, mail: bytes) -> bytes:
    begin = _place(draw, mail)
    piece = mail[begin : begin + draw(st.integers(1, 200))]
    return mail[:begin] + piece * draw(st.integers(2, 50)) + mail[begin:]


def double_headers(draw: st.DrawFn, mail: bytes) -> bytes:
    head, blank, body = mail.partition(b"\n\n")
    lines = draw(st.permutations(head.split(b"\n")[:30]))
    return head + b"\n" + b"\n".join(lines) + blank + body


def nest(draw: st.DrawFn, mail: bytes) -> bytes:
    return (
        b"Content-Type: multipart/mixed; boundary=n\n\n--n\n" + mail + b"\n--n\n" + mail[: _place(draw, mail)]
    )


def retype(draw: st.DrawFn, mail: bytes) -> bytes:
    return b"Subject: x\nContent-Type: " + draw(TYPES) + b"\n\n" + mail


def end_lines_otherwise(draw: st.DrawFn, mail: bytes) -> bytes:
    return mail.replace(b"\n", draw(LINE_ENDS))


def insert_noise(draw: st.DrawFn, mail: bytes) -> bytes:
    begin = _place(draw, mail)
    return mail[:begin] + draw(st.binary(max_size=40)) + mail[begin:]


ACCIDENTS = [
    cut, leave_out, splice, flip, repeat, double_headers, nest, retype, end_lines_otherwise, insert_noise,
]  # fmt: skip


def texts_of(mail: ParsedMail) -> list[str]:
    """Everything that a broken mail may put into an event."""
    addresses = (*mail.from_addresses, *mail.to, *mail.cc, *mail.reply_to)
    bodies = (mail.subject, mail.text, mail.html, mail.sanitized_html, mail.reply_text, mail.message_id)
    return [
        *(text for text in bodies if text is not None),
        *mail.references,
        *mail.defects,
        *(text for header in mail.headers for text in (header.name, header.value)),
        *(text for one in addresses for text in (one.address, one.name)),
        *(
            text
            for one in mail.attachments
            for text in (one.filename, one.content_type, one.content_id or "")
        ),
    ]


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(raw=mutated())
def test_no_accident_ends_the_reading(raw: bytes) -> None:
    mail = read_mail(ReadRequest(raw), RULES).mail
    assert mail.parse_status is (ParseStatus.DEFECTIVE if mail.defects else ParseStatus.OK)
    assert len(mail.defects) <= DEFECTS_MAX
    for text in texts_of(mail):
        assert "\x00" not in text
        assert text.encode("utf-8").decode("utf-8") == text
    names = [one.filename.casefold() for one in mail.attachments]
    assert len(set(names)) == len(names)
    assert mail.sanitized_html is None or "<script" not in mail.sanitized_html.lower()
    assert len(mail.reply_text or "") <= len(mail.text or "")
    assert parse_headers(raw, "large").subject == mail.subject


def test_the_seeds_are_the_corpus() -> None:
    assert len(SEEDS) > 400
