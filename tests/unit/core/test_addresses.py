"""Addresses in wire form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.addresses import ADDRESS_MAX, mailbox_key, wire_address


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        ("kim@example.org", "kim@example.org"),
        ("Kim.O'Hara+x@EXAMPLE.org", "Kim.O'Hara+x@example.org"),
        ("kim@localhost", "kim@localhost"),
        ("kim@my_host.example", "kim@my_host.example"),
        ("kim@straße.de", "kim@xn--strae-oqa.de"),
        ("kim@MÜNCHEN.example", "kim@xn--mnchen-3ya.example"),
        ("jürgen@example.org", "jürgen@example.org"),
        ('"a b"@example.org', '"a b"@example.org'),
        ('"a\\"@b"@example.org', '"a\\"@b"@example.org'),
        ("kim@[192.0.2.1]", "kim@[192.0.2.1]"),
        ("kim@[IPv6:2001:DB8::1]", "kim@[IPv6:2001:db8::1]"),
        ("x" * 64 + "@example.org", "x" * 64 + "@example.org"),
    ],
)
def test_addresses(address: str, wire: str) -> None:
    assert wire_address(address) == wire


@pytest.mark.parametrize(
    "address",
    [
        "",
        "kim",
        "@example.org",
        "kim@",
        "kim@ex ample.org",
        "kim @example.org",
        "a..b@example.org",
        ".a@example.org",
        "a.@example.org",
        "kim@example.org\r\nBcc: x@y",
        "kim@example.org\n",
        "kim\0@example.org",
        "<kim@example.org>",
        "a,b@example.org",
        '"@example.org',
        '""@example.org',
        '"a\nb"@example.org',
        "a\u00a0b@example.org",
        "kim@-example.org",
        "kim@example..org",
        "kim@example.org.",
        "kim@" + "x" * 64 + ".org",
        "kim@[192.0.2.1",
        "kim@[192.0.2.256]",
        "kim@[IPv6:zz]",
        "kim@xn--ü.example",
        "kim@ü\ud800.example",
        "\ud800@example.org",
        "ü" * 33 + "@example.org",
        "kim@" + "ü" * 254,
        "kim@" + ".".join(["ü" * 50] * 5),
        "k" * 64 + "@" + ".".join(["x" * 60] * 4),
    ],
)
def test_what_is_no_address(address: str) -> None:
    assert wire_address(address) is None


@given(st.text(st.characters()))
def test_any_text_is_read_without_a_fault(text: str) -> None:
    for address in (text, f"kim@{text}", f"{text}@example.org", f"kim@[{text}]"):
        wire = wire_address(address)
        assert wire is None or (len(wire.encode()) <= ADDRESS_MAX and wire_address(wire) == wire)
        assert wire is None or not set(wire) & set("\r\n\0")


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("Kim@EXAMPLE.org", "kim@example.org"),
        ('"Kim"@example.org', "kim@example.org"),
        ('"k\\im"@example.org', "kim@example.org"),
        ('"Kim O"@example.org', '"kim o"@example.org'),
        ("kim+Tag@example.org", "kim+tag@example.org"),
        ("kim@Straße.de", "kim@xn--strae-oqa.de"),
        ("JÜRGEN@example.org", "jürgen@example.org"),
        ("ju\u0308rgen@example.org", "jürgen@example.org"),
        ("straße@example.org", "straße@example.org"),
        ("no address", None),
    ],
)
def test_one_form_for_every_spelling_of_a_mailbox(address: str, key: str | None) -> None:
    assert mailbox_key(address) == key


@given(st.one_of(st.emails(), st.text(max_size=12).map(lambda local: f"{local}@example.org")))
def test_the_form_is_its_own_form(address: str) -> None:
    key = mailbox_key(address)
    assert key is None or mailbox_key(key) in {key, None}
