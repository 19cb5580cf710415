"""Stored mail as a request."""

from datetime import UTC, datetime

import pytest

from postlane.core.events.mail import Address, Header
from postlane.core.events.request import AutoSubmitted
from postlane.core.events.request_rules import check_request
from postlane.ops.draft import Draft, read_addresses, read_header
from postlane.ops.eml import UnusableMail, request_from_eml

RAW = b"""\
Received: from somewhere by elsewhere; Sun, 1 Nov 2026 10:00:00 +0000
Message-ID: <old@example.com>
Date: Sun, 1 Nov 2026 10:00:00 +0000
From: =?utf-8?q?Zo=C3=AB?= <zoe@example.com>
To: Ann <ann@example.com>, bob@example.com
Cc: carl@example.com
Bcc: dora@example.com
Subject: =?utf-8?b?R3LDvMOfZQ==?=
In-Reply-To: <first@example.com>
References: <root@example.com> <first@example.com>
X-Campaign: spring
 and summer
X-Postlane-Kind: put
Auto-Submitted: auto-generated (by a machine)
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=utf-8

Hello.
--inner
Content-Type: text/html; charset=utf-8

<p>Hello.</p>
--inner--
--outer
Content-Type: text/csv; name=list.csv
Content-Disposition: attachment; filename=list.csv

a,b
--outer--
"""


def draft(**changes: object) -> Draft:
    fields: dict[str, object] = {
        "event_id": "event-1",
        "ticket_id": "T-1",
        "requested_at": datetime(2026, 11, 22, tzinfo=UTC),
    }
    return Draft(**(fields | changes))  # type: ignore[arg-type]


def test_everything_that_its_author_wrote_is_taken_over() -> None:
    request = request_from_eml(RAW, draft())
    assert request.from_address == Address(address="zoe@example.com", name="Zoë")
    assert [a.address for a in request.to] == ["ann@example.com", "bob@example.com"]
    assert [a.address for a in request.cc] == ["carl@example.com"]
    assert [a.address for a in request.bcc] == ["dora@example.com"]
    assert request.subject == "Grüße"
    assert request.text is not None
    assert request.text.strip() == "Hello."
    assert request.html is not None
    assert "<p>Hello.</p>" in request.html
    assert [(a.filename, a.content_type) for a in request.attachments] == [("list.csv", "text/csv")]
    assert request.in_reply_to == "<first@example.com>"
    assert request.references == ("<root@example.com>", "<first@example.com>")


def test_identity_and_transport_headers_stay_behind() -> None:
    request = request_from_eml(RAW, draft())
    assert (request.event_id, request.ticket_id) == ("event-1", "T-1")
    assert request.headers == (Header(name="X-Campaign", value="spring and summer"),)
    assert check_request(request) == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (b"auto-generated (by a machine)", AutoSubmitted.AUTO_GENERATED),
        (b"auto-replied; owner-email=x", AutoSubmitted.AUTO_REPLIED),
        (b"no", AutoSubmitted.NO),
        (b"something-new", AutoSubmitted.NO),
    ],
)
def test_auto_submitted_is_read_without_parameters_and_comments(written: bytes, meant: AutoSubmitted) -> None:
    raw = RAW.replace(b"auto-generated (by a machine)", written)
    assert request_from_eml(raw, draft()).auto_submitted is meant


def test_flags_replace_what_the_mail_says() -> None:
    changed = draft(
        from_address=Address(address="desk@example.com"),
        to=read_addresses(["eve@example.com"]),
        subject="New",
        text="Bye",
    )
    request = request_from_eml(RAW, changed)
    assert request.from_address.address == "desk@example.com"
    assert [a.address for a in request.to] == ["eve@example.com"]
    assert (request.subject, request.text) == ("New", "Bye")
    assert request.html is not None


@pytest.mark.parametrize(
    ("raw", "words"),
    [(b"", "no mail headers"), (b"Subject: x\n\nHello", "no From; give one with --from")],
)
def test_what_is_no_sendable_mail_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(UnusableMail, match=words):
        request_from_eml(raw, draft())


def test_addresses_are_read_with_names_and_several_at_once() -> None:
    found = read_addresses(["Ann <ann@example.com>, bob@example.com", "carl@example.com"])
    assert found == (
        Address(address="ann@example.com", name="Ann"),
        Address(address="bob@example.com"),
        Address(address="carl@example.com"),
    )


def test_a_header_flag_needs_a_name() -> None:
    assert read_header("X-Note:  a: b ") == Header(name="X-Note", value="a: b")
    with pytest.raises(ValueError, match="NAME: VALUE"):
        read_header("no colon")
