"""Whom a system on trial may mail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.addresses import mailbox_key
from postlane.core.routing.safety import Safety, read_safety
from postlane.core.sending.screening import screen

ONLY_TO = ("@example.com", "@*.corp.example", "QA@x.example")
QA = "qa@example.com"


@pytest.mark.parametrize(
    ("recipient", "allowed"),
    [
        ("kim@example.com", True),
        ("kim@EXAMPLE.com", True),
        ("qa@x.example", True),
        ("Qa@X.example", True),
        ('"qa"@x.example', True),
        ("kim@x.example", False),
        ("qa+tag@x.example", False),
        ("kim@sub.example.com", False),
        ("kim@corp.example", False),
        ("kim@eu.corp.example", True),
        ("kim@a.eu.corp.example", True),
        ("kim@evilcorp.example", False),
        ("kim@example.com.evil.example", False),
        ('"kim@example.com"@evil.example', False),
        ("no address", False),
        ("", False),
    ],
)
def test_who_is_named_by_only_to(recipient: str, allowed: bool) -> None:
    safety = read_safety(ONLY_TO, None)
    assert safety.destination(recipient) == (recipient if allowed else None)
    assert read_safety(ONLY_TO, QA).destination(recipient) == (recipient if allowed else QA)


def test_without_a_word_everybody_is_mailed() -> None:
    assert read_safety(None, None) == Safety()
    assert Safety().destination("kim@anywhere.example") == "kim@anywhere.example"


@pytest.mark.parametrize("only_to", [None, ()])
def test_a_redirect_alone_takes_everything(only_to: tuple[str, ...] | None) -> None:
    safety = read_safety(only_to, "Qa@EXAMPLE.com")
    assert safety.destination("kim@anywhere.example") == "Qa@example.com"


@pytest.mark.parametrize(
    ("only_to", "redirect_to", "complaint"),
    [
        ((), None, "only_to: an empty list lets nobody be mailed"),
        (("example.com",), None, 'only_to: "example.com" is neither an address nor a domain'),
        (("@",), None, 'only_to: "@" is not a domain'),
        (("@*.",), None, r'only_to: "@\*\." is not a domain'),
        (("*@example.com", "@a b"), None, 'only_to: "@a b" is not a domain'),
        (None, "qa", 'redirect_to: "qa" is not a mail address'),
        (("@example.com",), "qa@x.example", 'redirect_to: "qa@x.example" is not among only_to'),
    ],
)
def test_mistakes_are_named(only_to: tuple[str, ...] | None, redirect_to: str | None, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_safety(only_to, redirect_to)


def nobody(_address: str) -> None:
    return None


domains = st.sampled_from(
    ["example.com", "EXAMPLE.com", "x.example", "corp.example", "a.corp.example", "büro.example"]
)
locals_ = st.sampled_from(["qa", "QA", "kim", '"kim@example.com"', '"qa"', "jürgen", "qa+1"])
addresses = st.one_of(st.builds("{}@{}".format, locals_, domains), st.text(max_size=20), st.emails())
entries = st.one_of(
    st.builds("{}@{}".format, st.sampled_from(["qa", "Kim"]), domains),
    st.builds("@{}".format, domains),
    st.builds("@*.{}".format, domains),
)


@given(
    st.lists(entries, min_size=1, max_size=3).map(tuple),
    st.booleans(),
    st.lists(addresses, max_size=6).map(tuple),
)
def test_with_only_to_no_envelope_names_anybody_else(
    only_to: tuple[str, ...], redirects: bool, recipients: tuple[str, ...]
) -> None:
    named = [entry for entry in only_to if not entry.startswith("@")]
    redirect_to = named[0] if redirects and named else None
    screened = screen(recipients, read_safety(only_to, redirect_to), nobody)
    for address in screened.envelope:
        key = mailbox_key(address)
        assert key is not None
        domain = key.rpartition("@")[2]
        assert any(fits(entry, key, domain) for entry in only_to), address
    told = [recipient for recipient, _ in screened.served] + [one.address for one in screened.suppressed]
    assert sorted(told) == sorted(recipients)


def fits(entry: str, key: str, domain: str) -> bool:
    """Said once more and otherwise than in the code: the domain's text against the entry's."""
    wanted = (mailbox_key(f"x{entry.replace('@*.', '@')}") or "").rpartition("@")[2]
    if entry.startswith("@*."):
        return domain.endswith(f".{wanted}")
    if entry.startswith("@"):
        return domain == wanted
    return mailbox_key(entry) == key
