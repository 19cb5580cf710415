"""Requests that cannot be sent are refused, and the fault names its field."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.mail import Address, BlobRef, Header
from postlane.core.events.request import MailRequested, RequestedAttachment
from postlane.core.events.request_rules import (
    ATTACHMENTS_MAX,
    FILENAME_MAX,
    HEADER_VALUE_MAX,
    HEADERS_MAX,
    NAME_MAX,
    RECIPIENTS_MAX,
    REFERENCES_MAX,
    SUBJECT_MAX,
    check_request,
)
from postlane.core.ticket_marks import SigningKeys
from postlane.core.writing.mime_build import BuildPolicy, build_mail

KIM = Address(address="kim@example.org")
FILE = RequestedAttachment(filename="a.txt", content_type="text/plain", content=b"a")
BLOB = BlobRef(sha256="0" * 64, size_bytes=1)
REQUEST = MailRequested(
    event_id="e-1",
    ticket_id="4711",
    requested_at=datetime(2026, 3, 1, tzinfo=UTC),
    from_address=Address(address="support@desk.example", name="Support"),
    to=(KIM,),
    subject="Hello",
)
BREAKS = ["\r\n", "\n", "\r", "\0"]


def changed(fields: Mapping[str, object]) -> MailRequested:
    return replace(REQUEST, **fields)  # type: ignore[arg-type]


def test_a_good_request_has_no_fault() -> None:
    full = replace(
        REQUEST,
        cc=(KIM, KIM),
        reply_to=(KIM,),
        envelope_from="bounces@desk.example",
        text="any\r\nlines\0",
        html="<p>",
        in_reply_to="<a@b>",
        references=("<a@b>", "strange"),
        headers=(Header(name="X-Queue", value="1"), Header(name="X-Queue", value="Stör\tung")),
        attachments=(
            FILE,
            replace(
                FILE, content=None, blob=BLOB, content_id="<logo@x>", content_type='text/csv; charset="x"'
            ),
        ),
    )
    assert check_request(REQUEST) == []
    assert check_request(full) == []
    assert check_request(replace(REQUEST, envelope_from="")) == []


@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("event_id", lambda bad: {"event_id": bad}),
        ("subject", lambda bad: {"subject": bad}),
        ("from_address.name", lambda bad: {"from_address": replace(KIM, name=bad)}),
        ("from_address.address", lambda bad: {"from_address": Address(address=f"k@e.org{bad}")}),
        ("to[1].name", lambda bad: {"to": (KIM, replace(KIM, name=bad))}),
        ("to[0].address", lambda bad: {"to": (Address(address=f"kim@example.org{bad}"),)}),
        ("cc[0].address", lambda bad: {"cc": (Address(address=bad),)}),
        ("bcc[0].name", lambda bad: {"bcc": (replace(KIM, name=bad),)}),
        ("reply_to[0].name", lambda bad: {"reply_to": (replace(KIM, name=bad),)}),
        ("envelope_from.address", lambda bad: {"envelope_from": f"x@y{bad}"}),
        ("in_reply_to", lambda bad: {"in_reply_to": f"<a@b>{bad}"}),
        ("references[1]", lambda bad: {"references": ("<a@b>", bad)}),
        ("headers[0].name", lambda bad: {"headers": (Header(name=f"X-A{bad}", value=""),)}),
        ("headers[1].value (X-A)", lambda bad: {"headers": (Header(name="X-A", value=""), Header(name="X-A", value=bad))}),
        ("attachments[0].filename", lambda bad: {"attachments": (replace(FILE, filename=bad),)}),
        ("attachments[0].content_type", lambda bad: {"attachments": (replace(FILE, content_type=f"a/b{bad}"),)}),
        ("attachments[0].content_id", lambda bad: {"attachments": (replace(FILE, content_id=f"a{bad}"),)}),
    ],
)  # fmt: skip
def test_line_breaks_are_refused_everywhere(field: str, make: object, line_break: str) -> None:
    assert callable(make)
    for bad in (f"{line_break}Bcc: all@example.org", line_break):
        faults = check_request(changed(make(bad)))
        assert faults
        assert all(fault.startswith(f"{field}:") for fault in faults)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"to": ()}, "to: the mail has no recipient"),
        ({"to": (KIM,) * (RECIPIENTS_MAX + 1)}, "to: the mail has 1001 recipients"),
        ({"event_id": ""}, "event_id: is empty"),
        ({"event_id": "x" * 256}, "event_id: is longer"),
        ({"ticket_id": ""}, "ticket_id: is empty"),
        ({"ticket_id": "ä" * 128}, "ticket_id: is longer than 255 bytes"),
        ({"ticket_id": "\ud800"}, "ticket_id: is not valid Unicode"),
        ({"ticket_id": "4711\r\nBcc: x@y.example"}, "ticket_id: contains control characters"),
        ({"ticket_id": "\x00keyless:1"}, "ticket_id: contains control characters"),
        ({"requested_at": datetime(2026, 3, 1)}, "requested_at: has no time zone"),  # noqa: DTZ001
        ({"from_address": Address(address="kim")}, "from_address.address: 'kim' is not a mail address"),
        ({"to": (replace(KIM, name="x" * (NAME_MAX + 1)),)}, "to[0].name: is longer"),
        ({"to": (replace(KIM, name="\x1b[31m"),)}, "to[0].name: contains a control character"),
        ({"subject": "x" * (SUBJECT_MAX + 1)}, "subject: is longer"),
        ({"subject": "\ud800"}, "subject: is not valid Unicode"),
        ({"text": "\ud800"}, "text: is not valid Unicode"),
        ({"html": "\udc00"}, "html: is not valid Unicode"),
        ({"references": ("<a@b>",) * (REFERENCES_MAX + 1)}, "references: there are 1001"),
        ({"headers": (Header(name="X", value=""),) * (HEADERS_MAX + 1)}, "headers: there are 101"),
        ({"headers": (Header(name="X Y", value=""),)}, "headers[0].name: 'X Y' is not a header name"),
        ({"headers": (Header(name="", value=""),)}, "headers[0].name: '' is not a header name"),
        ({"headers": (Header(name="X:", value=""),)}, "headers[0].name: 'X:' is not a header name"),
        ({"headers": (Header(name="x" * 77, value=""),)}, "headers[0].name"),
        ({"headers": (Header(name="X", value="x" * (HEADER_VALUE_MAX + 1)),)}, "headers[0].value (X): is longer"),
        ({"attachments": (FILE,) * (ATTACHMENTS_MAX + 1)}, "attachments: there are 251"),
        ({"attachments": (replace(FILE, filename="x" * (FILENAME_MAX + 1)),)}, "attachments[0].filename: is longer"),
        ({"attachments": (replace(FILE, content_type="text"),)}, "attachments[0].content_type: 'text'"),
        ({"attachments": (replace(FILE, content_type="a/b; x=" + "y" * 500),)}, "attachments[0].content_type"),
        ({"attachments": (replace(FILE, content_id="a b"),)}, "attachments[0].content_id"),
        ({"attachments": (replace(FILE, content=None),)}, "attachments[0]: must have either content or blob"),
        ({"attachments": (replace(FILE, blob=BLOB),)}, "attachments[0]: must have either content or blob"),
        ({"attachments": (replace(FILE, content=None, blob=replace(BLOB, sha256="../x")),)}, "attachments[0].blob.sha256"),
    ],
)  # fmt: skip
def test_faults_name_their_field(fields: dict[str, object], fault: str) -> None:
    faults = check_request(changed(fields))
    assert len(faults) == 1
    assert faults[0].startswith(fault)


@pytest.mark.parametrize(
    "name",
    ["Message-ID", "DATE", "from", "To", "Cc", "bcc", "Subject", "Return-Path", "MIME-Version", "Received",
     "Content-Type", "content-anything", "X-Postlane-Loop", "Reply-To", "References", "Auto-Submitted"],
)  # fmt: skip
def test_our_own_headers_cannot_be_set(name: str) -> None:
    faults = check_request(replace(REQUEST, headers=(Header(name=name, value="x"),)))
    assert faults == [f"headers[0].name: {name} is written by Postlane itself"]


def test_every_fault_is_listed() -> None:
    faults = check_request(replace(REQUEST, subject="a\nb", to=(), event_id=""))
    assert [fault.partition(":")[0] for fault in faults] == ["event_id", "to", "subject"]


anything = st.text(st.characters(), max_size=20)


@given(
    st.builds(
        lambda **fields: changed(fields),
        event_id=anything,
        ticket_id=anything,
        subject=anything,
        text=st.one_of(st.none(), anything),
        html=st.one_of(st.none(), anything),
        from_address=st.builds(lambda name: Address(address="a@b", name=name), anything),
        to=st.lists(st.builds(lambda one, name: Address(address=one, name=name), st.one_of(anything, st.just("a@b")), anything), max_size=2).map(tuple),
        in_reply_to=st.one_of(st.none(), anything),
        references=st.lists(anything, max_size=2).map(tuple),
        headers=st.lists(st.builds(lambda name, value: Header(name=name, value=value), st.one_of(anything, st.just("X-A")), anything), max_size=2).map(tuple),
        attachments=st.lists(st.builds(lambda name, cid: replace(FILE, filename=name, content_id=cid), anything, st.one_of(st.none(), anything)), max_size=2).map(tuple),
    )
)  # fmt: skip
def test_what_is_not_refused_can_be_built(request: MailRequested) -> None:
    if not check_request(request):
        policy = BuildPolicy(keys=SigningKeys("k1", {}, "desk.example"))
        content = build_mail(request, {}, policy).content
        head = content.partition(b"\r\n\r\n")[0]
        assert head.count(b"\r\nMIME-Version: 1.0\r\n") == 1
        assert b"\n" not in content.replace(b"\r\n", b"")
