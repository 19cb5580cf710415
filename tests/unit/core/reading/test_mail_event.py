"""Events: the same identity every time, the right key, and never more bytes than a broker takes."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.adapters.avro_codec import Codec
from postlane.core.events.mail import Address, BlobRef, Disposition, Header
from postlane.core.events.received import (
    MailReceived,
    ParseStatus,
    ReceivedAttachment,
    Scan,
    ScanVerdict,
    Verdicts,
)
from postlane.core.reading.mail_event import (
    ATTACHMENTS_MAX,
    INLINE_BYTES_MAX,
    Place,
    build_event,
    event_id,
    received_attachment,
    record_key,
    slim_event,
    thread_key,
    travels_inline,
)
from postlane.core.reading.parsed_mail import MailReading, ParsedAttachment, ParsedMail
from postlane.core.virus_scanning import scan_of

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
RAW = BlobRef(sha256="ab" * 32, size_bytes=100)
PLACE = Place(mailbox="support", folder="INBOX", uid_validity=7, uid=1, received_at=NOW)
PRODUCER_BYTES_MAX = 1_000_000
SMALL_BYTES = 16 * 1024
CODEC = Codec()


def reading(ticket_id: str | None = None, **parsed: object) -> MailReading:
    mail = replace(ParsedMail(parse_status=ParseStatus.OK), **parsed)  # type: ignore[arg-type]
    return MailReading(
        mail=mail,
        verdicts=Verdicts(may_open=True, may_reopen=True, may_auto_answer=True),
        ticket_id=ticket_id,
    )


def event(found: MailReading, attachments: tuple[ReceivedAttachment, ...] = ()) -> MailReceived:
    return build_event(PLACE, RAW, found, attachments, NOW)


def attachment(size_bytes: int) -> ParsedAttachment:
    return ParsedAttachment(
        filename="a", content_type="a/b", disposition=Disposition.ATTACHMENT, content=bytes(size_bytes)
    )


def test_the_id_is_that_of_the_mail_at_its_place() -> None:
    assert event_id(PLACE, RAW) == event_id(PLACE, RAW)
    others = [
        replace(PLACE, mailbox="sales"),
        replace(PLACE, folder="Other"),
        replace(PLACE, uid_validity=8),
        replace(PLACE, uid=2),
    ]
    ids = {event_id(place, RAW) for place in (PLACE, *others)} | {
        event_id(PLACE, BlobRef(sha256="cd" * 32, size_bytes=100))
    }
    assert len(ids) == 6
    assert all(len(one) == 32 for one in ids)


def test_the_id_does_not_depend_on_when_it_was_read_or_received() -> None:
    assert event_id(replace(PLACE, received_at=datetime(2020, 1, 1, tzinfo=UTC)), RAW) == event_id(PLACE, RAW)


@pytest.mark.parametrize(
    ("parsed", "root"),
    [
        (
            {"references": ("<root@x>", "<later@x>"), "in_reply_to": ("<later@x>",), "message_id": "<me@x>"},
            "<root@x>",
        ),
        ({"in_reply_to": ("<root@x>",), "message_id": "<me@x>"}, "<root@x>"),
        ({"message_id": "<root@x>"}, "<root@x>"),
    ],
)
def test_a_thread_has_one_key(parsed: dict[str, object], root: str) -> None:
    assert event(reading(None, **parsed)).thread_key == thread_key(reading(message_id=root).mail, RAW)


def test_without_any_message_id_the_bytes_are_the_thread() -> None:
    other = BlobRef(sha256="cd" * 32, size_bytes=100)
    assert thread_key(reading().mail, RAW) != thread_key(reading().mail, other)


def test_the_key_is_the_ticket_else_the_thread() -> None:
    assert record_key(event(reading("4711"))) == b"4711"
    assert record_key(event(reading(message_id="<a@b>"))).startswith(b"thread:")


def test_small_attachments_travel_inline_within_a_total() -> None:
    sizes = [SMALL_BYTES] * 6 + [SMALL_BYTES + 1, 0]
    inline = travels_inline([attachment(size) for size in sizes], SMALL_BYTES)
    total = sum(size for size, kept in zip(sizes, inline, strict=True) if kept)
    assert inline[:4] == (True,) * 4
    assert inline[4:] == (False, False, False, True)
    assert total <= INLINE_BYTES_MAX


def test_no_attachment_travels_inline_where_that_is_off() -> None:
    assert travels_inline([attachment(0), attachment(1)], 0) == (False, False)


def test_a_verdict_stands_beside_its_attachment() -> None:
    scan = Scan(verdict=ScanVerdict.INFECTED, detail="Eicar-Test-Signature", engine="clamd")
    assert received_attachment(attachment(5), None).scan is None
    built = event(reading(), (received_attachment(attachment(5), RAW, scan),))
    assert CODEC.decode(MailReceived, CODEC.encode(built)).attachments[0].scan == scan


def test_an_attachment_has_its_content_in_one_place() -> None:
    assert received_attachment(attachment(5), None).content == bytes(5)
    assert received_attachment(attachment(5), None).blob is None
    assert received_attachment(attachment(5), RAW).content is None
    assert received_attachment(attachment(5), RAW).size_bytes == 5


@given(
    char=st.sampled_from('aä漢😀"<&'),
    count=st.sampled_from([1, 1000, 200_000, 1_000_000]),
    items=st.sampled_from([0, 10, 5000]),
)
def test_no_event_is_larger_than_producers_and_brokers_take(char: str, count: int, items: int) -> None:
    text = char * count
    address = Address(address="a@b", name=char * 300)
    found = reading(
        text=text,
        html=text,
        sanitized_html=text,
        reply_text=text,
        subject=char * 2000,
        headers=tuple(Header(name="X" * 50, value=char * 500) for _ in range(items)),
        from_addresses=(address,) * items,
        to=(address,) * items,
        cc=(address,) * items,
        reply_to=(address,) * items,
        references=tuple(f"<{number}@x>" for number in range(items)),
    )
    scan = scan_of(ScanVerdict.INFECTED, "x" * 1000, "y" * 1000)
    small = tuple(received_attachment(attachment(SMALL_BYTES), None, scan) for _ in range(4))
    large = tuple(received_attachment(attachment(20_000), RAW, scan) for _ in range(300))
    built = event(found, small + large)
    assert len(CODEC.encode(built)) < PRODUCER_BYTES_MAX
    assert (built.text == text) == (not any(defect.startswith("text ") for defect in built.defects))
    assert built.sanitized_html in (text, None)  # cleaned markup is never cut
    assert len(CODEC.encode(slim_event(built))) < 200_000
    assert CODEC.decode(MailReceived, CODEC.encode(built)) == built


def test_what_is_cut_makes_the_event_defective() -> None:
    built = event(reading(text="x" * 500_000))
    assert built.parse_status is ParseStatus.DEFECTIVE
    assert built.text is not None
    assert any("cut" in defect for defect in built.defects)
    assert event(reading(text="x")).parse_status is ParseStatus.OK


def test_attachments_that_are_left_out_are_told() -> None:
    found = reading(attachments=(attachment(1),) * (ATTACHMENTS_MAX + 1))
    built = event(found, (received_attachment(attachment(1), None),) * (ATTACHMENTS_MAX + 1))
    assert len(built.attachments) == ATTACHMENTS_MAX
    assert built.parse_status is ParseStatus.DEFECTIVE
    assert "more than 200 attachments" in built.defects[0]


def test_a_failed_reading_stays_failed() -> None:
    assert event(reading(parse_status=ParseStatus.FAILED)).parse_status is ParseStatus.FAILED
