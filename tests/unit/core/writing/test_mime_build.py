"""Built mail: read back by the standard library's parser it says what the request said, and it is the same in every build."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fakes.mail_reader import (
    KEYS,
    PNG,
    POLICY,
    REQUEST,
    addresses,
    body,
    build,
    filename,
    leaves,
    normal,
    parse,
    shape,
    words,
)
from postlane.core.events.mail import Address, BlobRef, Disposition
from postlane.core.events.request import AutoSubmitted, MailRequested, RequestedAttachment
from postlane.core.events.request_rules import check_request
from postlane.core.ticket_marks import (
    Mark,
    SigningKeys,
    read_body_markers,
    read_message_id,
    read_plus_address,
)
from postlane.core.writing.mime_build import (
    EVENT_HEADER,
    ID_HEADER,
    LOOP_HEADER,
    RECIPIENT_HEADER,
    REFERENCES_WRITTEN_MAX,
    BuildPolicy,
    build_mail,
)
from postlane.core.writing.mime_write import LINE_MAX

MARK = Mark("4711", verified=True, key_id="k1")
NOW = REQUEST.requested_at

unicode_text = st.text(st.characters(exclude_categories=["Cs"]))
line_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200)
local_parts = st.from_regex(r"[a-z0-9!#$&'*+/=?^_`{|}~-]{1,20}(\.[a-z0-9]{1,10})?", fullmatch=True)
domains = st.sampled_from(["example.org", "mail.example.com", "münchen.example", "localhost", "[192.0.2.1]"])
mailboxes = st.builds(
    lambda local, domain, name: Address(address=f"{local}@{domain}", name=name),
    local_parts,
    domains,
    st.one_of(st.just(""), line_text.map(str.strip)),
)
attachments = st.builds(
    RequestedAttachment,
    filename=line_text,
    content_type=st.sampled_from(["text/plain", "text/csv; charset=latin-1", "image/png", "application/pdf"]),
    disposition=st.sampled_from(Disposition),
    content=st.binary(max_size=300),
)
requests = st.builds(
    lambda **fields: replace(REQUEST, **fields),
    event_id=st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text and text.isprintable()),
    ticket_id=st.text(min_size=1, max_size=30),
    requested_at=st.datetimes(
        min_value=datetime(1990, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
        timezones=st.just(UTC),
    ),
    from_address=mailboxes,
    to=st.lists(mailboxes, min_size=1, max_size=5).map(tuple),
    cc=st.lists(mailboxes, max_size=3).map(tuple),
    bcc=st.lists(mailboxes, max_size=3).map(tuple),
    subject=line_text,
    text=st.one_of(st.none(), unicode_text),
    html=st.one_of(st.none(), unicode_text),
    attachments=st.lists(attachments, max_size=3).map(tuple),
)


@given(requests)
def test_two_builds_give_the_same_bytes(request: MailRequested) -> None:
    assume(not check_request(request))
    assert build_mail(request, {}, POLICY) == build_mail(request, {}, POLICY)


@given(requests)
def test_every_line_is_fit_for_smtp(request: MailRequested) -> None:
    assume(not check_request(request))
    content = build(request).content
    assert content.endswith(b"\r\n")
    assert content.isascii()
    assert b"\0" not in content
    for line in content.split(b"\r\n"):
        assert len(line) <= LINE_MAX
        assert b"\r" not in line
        assert b"\n" not in line


@given(requests)
def test_headers_read_back(request: MailRequested) -> None:
    assume(not check_request(request))
    message = parse(build(request))
    assert not message.defects
    assert words(message, "Subject").split() == request.subject.split()
    for field, given_addresses in (
        ("From", (request.from_address,)),
        ("To", request.to),
        ("Cc", request.cc),
    ):
        if given_addresses:
            found = addresses(message, field)
            assert [name.split() for name, _ in found] == [
                address.name.split() for address in given_addresses
            ]
            local_parts = [address.rpartition("@")[0] for _, address in found]
            assert local_parts == [address.address.rpartition("@")[0] for address in given_addresses]
    assert "Bcc" not in message


@given(requests)
def test_bodies_and_attachments_read_back(request: MailRequested) -> None:
    assume(not check_request(request))
    parts = leaves(parse(build(request)))
    files = parts[len(parts) - len(request.attachments) :]
    texts = {part.get_content_subtype(): normal(body(part)) for part in parts[: len(parts) - len(files)]}
    if request.text is not None:
        assert texts["plain"].startswith(normal(request.text))
    if request.html is not None:
        html = normal(request.html)
        assert texts["html"].startswith(html) or "</body" in html.lower()
    for part, attachment in zip(files, request.attachments, strict=True):
        assert part.get_payload(decode=True) == attachment.content
        assert part.get_content_type() == attachment.content_type.partition(";")[0]
        assert filename(part) == attachment.filename


@given(requests)
def test_every_mark_names_the_ticket(request: MailRequested) -> None:
    assume(not check_request(request))
    built = build(request)
    message = parse(built)
    mark = Mark(request.ticket_id, verified=True, key_id="k1")
    assert message["Message-ID"] == built.message_id
    assert read_message_id(KEYS, built.message_id) == mark
    assert read_message_id(KEYS, message["References"].split()[0]) == mark
    for part in leaves(message)[: 2 if request.html is not None and request.text is not None else 1]:
        assert mark in read_body_markers(KEYS, body(part))
    if reply_to := message["Reply-To"]:
        assert read_plus_address(KEYS, addresses(message, "Reply-To")[0][1]) == mark, reply_to


def test_another_process_builds_the_same_bytes() -> None:
    request = replace(REQUEST, html="<p>Grüße</p>", attachments=(PNG, replace(PNG, content_id=None)))
    digest = hashlib.sha256(build(request).content).hexdigest()
    script = (
        "import hashlib, fakes.mail_reader as t; from dataclasses import replace;"
        "r = replace(t.REQUEST, html='<p>Gr\\u00fc\\u00dfe</p>',"
        " attachments=(t.PNG, replace(t.PNG, content_id=None)));"
        "print(hashlib.sha256(t.build(r).content).hexdigest())"
    )
    code = f"import sys; sys.path[:0] = {sys.path!r}; {script}"
    for seed in ("0", "1"):
        out = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"},
        )
        assert out.stdout.strip() == digest


def test_a_plain_mail_is_plain() -> None:
    built = build(REQUEST, by=BuildPolicy(keys=KEYS, plus_address=False))
    head, _, text = built.content.decode().partition("\r\n\r\n")
    assert text == f"Hello Kim,\r\nit prints again.\r\n\r\n{KEYS.signer(NOW).body_marker('4711')}\r\n"
    assert head.split("\r\n") == [
        "Date: Sun, 01 Mar 2026 12:30:00 +0000",
        "From: Support <support@desk.example>",
        "To: Kim <kim@example.org>",
        "Subject: Your printer [#4711]",
        f"Message-ID: {built.message_id}",
        f"References: {KEYS.signer(NOW).root_mark('4711')}",
        f"{LOOP_HEADER}: desk.example",
        f"{ID_HEADER}: {built.message_id}",
        f"{EVENT_HEADER}: {REQUEST.event_id}",
        f"{RECIPIENT_HEADER}: {KEYS.signer(NOW).recipient_proof(built.message_id, 'kim@example.org')}",
        "MIME-Version: 1.0",
        'Content-Type: text/plain; charset="utf-8"',
        "Content-Transfer-Encoding: 7bit",
    ]
    assert built.recipients == ("kim@example.org",)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"text": None}, "text/plain"),
        ({"text": None, "html": "<p>x</p>"}, "text/html"),
        ({"html": "<p>x</p>"}, "alternative(text/plain, text/html)"),
        (
            {"html": "<p>x</p>", "attachments": (PNG,)},
            "alternative(text/plain, related(text/html, image/png))",
        ),
        ({"text": None, "html": "<p>x</p>", "attachments": (PNG,)}, "related(text/html, image/png)"),
        ({"attachments": (PNG,)}, "mixed(text/plain, image/png)"),
        (
            {"html": "<p>x</p>", "attachments": (PNG, replace(PNG, content_id=None))},
            "mixed(alternative(text/plain, related(text/html, image/png)), image/png)",
        ),
    ],
)
def test_the_shape_of_a_mail(change: dict[str, object], expected: str) -> None:
    assert shape(parse(build(replace(REQUEST, **change)))) == expected  # type: ignore[arg-type]


def test_inline_images_are_found_by_their_content_id() -> None:
    request = replace(REQUEST, html='<img src="cid:logo@desk">', attachments=(PNG,))
    image = leaves(parse(build(request)))[-1]
    assert image["Content-ID"] == "<logo@desk>"
    assert image["Content-Disposition"] == 'inline;\r\n filename="logo.png"'
    bracketed = replace(request, attachments=(replace(PNG, content_id="<logo@desk>"),))
    assert build(bracketed).content == build(request).content


def test_the_marker_stands_before_the_end_of_the_html() -> None:
    html = "<body><pre>&lt;/body></pre>hi</BODY ></html>"
    message = parse(build(replace(REQUEST, text=None, html=html)))
    marker = KEYS.signer(NOW).body_marker("4711")
    assert body(message).index(marker) < body(message).index("</BODY")


def test_blobs_are_read_from_what_is_given() -> None:
    content = bytes(range(256)) * 50
    sha256 = hashlib.sha256(content).hexdigest()
    blob = BlobRef(sha256=sha256, size_bytes=len(content))
    attachment = RequestedAttachment(filename="x.bin", content_type="application/octet-stream", blob=blob)
    request = replace(REQUEST, attachments=(attachment,))
    assert leaves(parse(build(request, {sha256: content})))[1].get_payload(decode=True) == content
    with pytest.raises(KeyError, match=sha256):
        build(request)


def test_a_reply_is_threaded() -> None:
    long_id = f"<{'x' * 240}@example.org>"
    request = replace(REQUEST, in_reply_to=long_id, references=("<a@x>", long_id, "b@x"))
    message = parse(build(request))
    root = KEYS.signer(NOW).root_mark("4711")
    assert message["In-Reply-To"] == long_id
    assert message["References"].replace("\r\n", "").split() == [root, "<a@x>", "<b@x>", long_id]


def test_unusable_references_are_left_out_and_long_lists_cut() -> None:
    many = tuple(f"<{number}@x>" for number in range(100))
    request = replace(REQUEST, in_reply_to="not an id", references=("<ü@x>", "<a b@x>", *many))
    message = parse(build(request))
    root = KEYS.signer(NOW).root_mark("4711")
    assert "In-Reply-To" not in message
    assert message["References"].split() == [root, *many[-REFERENCES_WRITTEN_MAX:]]
    again = replace(request, references=(root, build(request).message_id, "<a@x>"))
    assert parse(build(again))["References"].split() == [root, "<a@x>"]


@pytest.mark.parametrize(
    ("auto", "written"),
    [
        (AutoSubmitted.NO, None),
        (AutoSubmitted.AUTO_GENERATED, "auto-generated"),
        (AutoSubmitted.AUTO_REPLIED, "auto-replied"),
    ],
)
def test_automatic_mail_says_so(auto: AutoSubmitted, written: str | None) -> None:
    message = parse(build(replace(REQUEST, auto_submitted=auto)))
    assert message["Auto-Submitted"] == written
    assert message["X-Auto-Response-Suppress"] == (written and "All")
    assert message[LOOP_HEADER] == "desk.example"


def test_reply_to_carries_the_ticket_only_where_our_mailbox_takes_it() -> None:
    own = Address(address="billing@desk.example", name="Billing")
    other = Address(address="agent@elsewhere.example")

    def reply_to(*given_addresses: Address, plus: bool = True) -> list[tuple[str, str]]:
        request = replace(REQUEST, reply_to=given_addresses)
        message = parse(build(request, by=BuildPolicy(keys=KEYS, plus_address=plus)))
        return addresses(message, "Reply-To") if "Reply-To" in message else []

    ((_, from_tagged),) = reply_to()
    assert read_plus_address(KEYS, from_tagged) == MARK
    assert from_tagged.startswith("support+")
    (name, tagged), second = reply_to(own, other)
    assert (name, read_plus_address(KEYS, tagged), second) == (
        "Billing",
        MARK,
        ("", "agent@elsewhere.example"),
    )
    assert reply_to(other, own) == [("", "agent@elsewhere.example"), ("Billing", "billing@desk.example")]
    assert reply_to(own, plus=False) == [("Billing", "billing@desk.example")]
    assert reply_to(plus=False) == []
    long_one = replace(REQUEST, ticket_id="Ä" * 60)
    assert "Reply-To" not in parse(build(long_one))


def test_the_recipients() -> None:
    kim, lee = Address(address="kim@EXAMPLE.org"), Address(address="lee@münchen.example")
    request = replace(REQUEST, to=(kim, kim), cc=(lee,), bcc=(replace(kim, address="kim@example.org"), lee))
    assert build(request).recipients == ("kim@example.org", "lee@xn--mnchen-3ya.example")
    assert "To" not in parse(build(replace(request, to=())))
    hidden = replace(request, to=(), cc=(), bcc=(kim,))
    assert parse(build(hidden))["To"] == "undisclosed-recipients:;"
    assert b"kim@" not in build(hidden).content


def test_the_date_is_the_request_in_utc() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert build(replace(REQUEST, requested_at=elsewhere)).content == build(REQUEST).content


def test_a_rotation_with_since_keeps_the_bytes_of_older_requests() -> None:
    keys = {**KEYS.keys, "k2": b"another secret of length"}
    later = SigningKeys("k2", keys, KEYS.domain, since={"k2": NOW + timedelta(seconds=1)})
    assert build(REQUEST, by=BuildPolicy(keys=later)) == build(REQUEST)
    after = replace(REQUEST, requested_at=NOW + timedelta(seconds=1))
    mark = read_message_id(later, build(after, by=BuildPolicy(keys=later)).message_id)
    assert mark == Mark("4711", verified=True, key_id="k2")


def test_an_unchecked_address_is_a_fault() -> None:
    with pytest.raises(ValueError, match="nobody"):
        build_mail(replace(REQUEST, to=(Address(address="nobody"),)), {}, POLICY)
