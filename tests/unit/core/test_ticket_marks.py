"""Signed ticket ids: what is written can be read, what was changed never verifies."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from postlane.core.addresses import LOCAL_PART_MAX
from postlane.core.ticket_marks import (
    MARKS_PER_TEXT_MAX,
    MESSAGE_ID_MAX,
    UNSIGNED,
    Mark,
    Signer,
    SigningKeys,
    names_event,
    proves_recipient,
    read_body_markers,
    read_message_id,
    read_plus_address,
    read_subject_tags,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD = b"an old secret of some length"
NEW = b"a new secret of some length"
KEYS = SigningKeys("k1", {"k1": OLD}, "Desk.example")
SIGNER = KEYS.signer(NOW)
UUID = "0189c2a0-7f4e-7cc1-9c3b-1d2e3f405162"

ticket_ids = st.one_of(
    st.text(max_size=60),
    st.from_regex(r"[A-Z]{2,5}-[0-9]{1,6}", fullmatch=True),
    st.integers(min_value=0).map(str),
    st.uuids().map(str),
)
edits = st.tuples(st.sampled_from("+-="), st.integers(min_value=0), st.characters())


def edited(text: str, edit: tuple[str, int, str]) -> str:
    """`text` with one character put in, taken out or replaced."""
    kind, place, character = edit
    at = place % len(text)
    return text[:at] + ("" if kind == "-" else character) + text[at + (kind != "+") :]


def differs(before: str, after: str) -> bool:
    """Whether more than case, brackets and outer blanks changed: those carry nothing."""
    return before.strip("<> ").lower() != after.strip().strip("<> ").lower()


@given(ticket_ids, st.text())
def test_a_message_id_gives_its_ticket_back(ticket_id: str, event_id: str) -> None:
    message_id = SIGNER.message_id(ticket_id, event_id)
    mark = read_message_id(KEYS, message_id)
    assert mark in (Mark(ticket_id, verified=True, key_id="k1"), None)
    assert (mark is None) == message_id.startswith("<h")
    assert len(message_id) <= MESSAGE_ID_MAX
    assert re.fullmatch(r"<[a-z0-9.-]+@desk\.example>", message_id)


@given(ticket_ids)
def test_root_mark_plus_tag_and_body_marker_give_the_ticket_back(ticket_id: str) -> None:
    mark = Mark(ticket_id, verified=True, key_id="k1")
    root = SIGNER.root_mark(ticket_id)
    assert read_message_id(KEYS, root) == (None if root.startswith("<h") else mark)
    assert read_body_markers(KEYS, f"> wrote:\n> {SIGNER.body_marker(ticket_id)}\n") == (mark,)
    address = SIGNER.plus_address("help@desk.example", ticket_id)
    assert address is None or read_plus_address(KEYS, address) == mark


@given(ticket_ids)
def test_folded_case_still_verifies(ticket_id: str) -> None:
    message_id = SIGNER.message_id(ticket_id, "e")
    assert read_message_id(KEYS, message_id.upper()) == read_message_id(KEYS, message_id)
    address = SIGNER.plus_address("help@desk.example", ticket_id)
    assert address is None or read_plus_address(KEYS, address.upper()) == read_plus_address(KEYS, address)
    marker = SIGNER.body_marker(ticket_id)
    assert read_body_markers(KEYS, marker.upper()) == read_body_markers(KEYS, marker)


@given(ticket_ids, edits)
def test_a_changed_message_id_never_verifies(ticket_id: str, edit: tuple[str, int, str]) -> None:
    for message_id in (SIGNER.message_id(ticket_id, "e"), SIGNER.root_mark(ticket_id)):
        changed = edited(message_id, edit)
        assume(differs(message_id, changed))
        mark = read_message_id(KEYS, changed)
        assert mark is None or not mark.verified


@given(ticket_ids, edits)
def test_a_changed_tag_or_marker_never_verifies(ticket_id: str, edit: tuple[str, int, str]) -> None:
    tag = SIGNER.body_marker(ticket_id).removeprefix("[ref:").removesuffix("]")
    changed = edited(tag, edit)
    assume(differs(tag, changed))
    assert not any(mark.verified for mark in read_body_markers(KEYS, f"[ref:{changed}]"))
    address = SIGNER.plus_address("s@desk.example", ticket_id)
    assume(address is not None)
    assert address is not None
    tag = address.partition("+")[2].partition("@")[0]
    changed = edited(tag, edit)
    assume(differs(tag, changed) and not (edit[0] == "+" and changed.endswith("+" + tag)))
    mark = read_plus_address(KEYS, f"s+{changed}@desk.example")
    assert mark is None or not mark.verified


def test_a_mark_of_one_kind_is_no_mark_of_another() -> None:
    tag = SIGNER.body_marker("4711").removeprefix("[ref:").removesuffix("]")
    assert read_plus_address(KEYS, f"s+{tag}@desk.example") == Mark("4711", verified=False, key_id="k1")
    assert read_message_id(KEYS, f"<{tag}@desk.example>") == Mark("4711", verified=False, key_id="k1")


@given(st.text(min_size=150, max_size=255), st.text(min_size=150, max_size=255))
def test_long_ids_never_share_a_message_id(one: str, other: str) -> None:
    assume(one != other)
    assert SIGNER.message_id(one, "e") != SIGNER.message_id(other, "e")
    assert len(SIGNER.message_id(one, "e")) <= MESSAGE_ID_MAX


def test_an_id_too_long_for_a_message_id_is_known_by_the_body_marker_alone() -> None:
    ticket_id = "Ä" * 120
    assert read_message_id(KEYS, SIGNER.message_id(ticket_id, "e")) is None
    assert SIGNER.plus_address("help@desk.example", ticket_id) is None
    assert read_body_markers(KEYS, SIGNER.body_marker(ticket_id)) == (Mark(ticket_id, True, "k1"),)


def test_the_longest_domain_leaves_room() -> None:
    keys = SigningKeys("k1234567", {"k1234567": OLD}, "d" * 146 + ".com")
    assert len(keys.signer(NOW).message_id("Ä" * 120, "e")) <= MESSAGE_ID_MAX


@pytest.mark.parametrize(
    ("ticket_id", "start"),
    [("4711", "<t4711."), ("acme-7", "<tacme-7."), ("ACME-7", "<bifbu2rjng4."), (UUID, "<uage4")],
)
def test_ids_are_written_in_the_shortest_safe_form(ticket_id: str, start: str) -> None:
    assert SIGNER.message_id(ticket_id, "e").startswith(start)


def test_a_uuid_fits_into_a_plus_address() -> None:
    address = SIGNER.plus_address("support@desk.example", UUID)
    assert address is not None
    assert len(address.partition("@")[0]) <= LOCAL_PART_MAX
    assert read_plus_address(KEYS, f"<{address}>") == Mark(UUID, verified=True, key_id="k1")


@pytest.mark.parametrize(
    "address",
    ["x" * 60 + "@desk.example", '"a b"@desk.example', "@desk.example", "help@" + "d" * 230 + ".com"],
)
def test_no_plus_address_where_it_cannot_be(address: str) -> None:
    assert SIGNER.plus_address(address, "4711") is None


def test_a_retired_key_still_verifies_and_an_unknown_one_does_not() -> None:
    rotated = SigningKeys("K2", {"k1": OLD, "K2": NEW}, "desk.example")
    assert read_message_id(rotated, SIGNER.message_id("7", "e")) == Mark("7", True, "k1")
    fresh = rotated.signer(NOW).message_id("7", "e")
    assert read_message_id(rotated, fresh) == Mark("7", True, "k2")
    assert read_message_id(KEYS, fresh) == Mark("7", False, "k2")
    stolen = Signer("k1", b"guessed", "desk.example").message_id("7", "e")
    assert read_message_id(KEYS, stolen) == Mark("7", False, "k1")


def test_the_key_follows_from_when_the_mail_was_requested() -> None:
    keys = SigningKeys("k2", {"k1": OLD, "k2": NEW}, "desk.example", since={"k2": NOW})
    assert keys.signer(NOW - timedelta(seconds=1)).key_id == "k1"
    assert keys.signer(NOW).key_id == "k2"
    assert SigningKeys("k2", {"k1": OLD, "k2": NEW}, "d").signer(NOW).key_id == "k2"
    assert SigningKeys("k1", {"k1": OLD}, "d", since={"k1": NOW}).signer(NOW - timedelta(1)).key_id == "k1"


def test_without_keys_marks_are_written_but_never_verified() -> None:
    keys = SigningKeys("k1", {}, "desk.example")
    signer = keys.signer(NOW)
    assert read_message_id(keys, signer.message_id("7", "e")) == Mark("7", False, UNSIGNED)
    assert read_body_markers(keys, signer.body_marker("7")) == (Mark("7", False, UNSIGNED),)


@pytest.mark.parametrize(
    ("active", "keys", "domain", "said"),
    [
        ("k1", {}, "dömäin", "domain"),
        ("k1", {}, "d" * 200, "domain"),
        ("k1", {}, "d\n", "domain"),
        ("k9", {"k1": OLD}, "d", "k9"),
        ("k-1", {"k-1": OLD}, "d", "k-1"),
        ("ä", {"ä": OLD}, "d", "ä"),
        (UNSIGNED, {UNSIGNED: OLD}, "d", UNSIGNED),
        ("k1", {"k1": OLD, "K1": NEW}, "d", "case"),
    ],
)
def test_unusable_keys_are_refused(active: str, keys: dict[str, bytes], domain: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SigningKeys(active, keys, domain)
    with pytest.raises(ValueError, match="since"):
        SigningKeys("k1", {"k1": OLD}, "d", since={"k2": NOW})


def test_secrets_do_not_show() -> None:
    assert "secret" not in repr(KEYS) + repr(SIGNER)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "<CAF+abc.def@mail.gmail.com>",
        "<b1.k1aaaaaaaaaaaaaaaa@d>",
        "<b77.k1aaaaaaaaaaaaaaaa@d>",
        "<b74.k1aaaaaaaaaaaaaaaa@d>",
        "<uae.k1aaaaaaaaaaaaaaaa@d>",
        "<t" + "x" * 300 + ".k1aaaaaaaaaaaaaaaa@d>",
        "<t1.\u212a1aaaaaaaaaaaaaaaa@d>",
    ],
)
def test_what_is_not_ours_is_no_mark(text: str) -> None:
    assert read_message_id(KEYS, text) is None


def test_a_plus_address_of_somebody_else_is_no_mark() -> None:
    assert read_plus_address(KEYS, "anna+news@desk.example") is None
    assert read_plus_address(KEYS, "anna@desk.example") is None
    assert read_plus_address(KEYS, "s+t" + "1" * 60 + ".k1aaaaaaaaaaaaaaaa@desk.example") is None
    assert read_plus_address(KEYS, "s+t1.\u212a1aaaaaaaaaaaaaaaa@desk.example") is None


def test_body_markers_are_listed_once_each_and_bounded() -> None:
    one, two = SIGNER.body_marker("1"), SIGNER.body_marker("2")
    found = read_body_markers(KEYS, f"{one} [ref:junk.aaaaaaaaaaaaaaaaa] {two}{one}")
    assert [mark.ticket_id for mark in found] == ["1", "2"]
    flood = " ".join(SIGNER.body_marker(str(number)) for number in range(100))
    assert len(read_body_markers(KEYS, flood)) == MARKS_PER_TEXT_MAX


@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ("Re: [#4711] printer", ["4711"]),
        ("AW: [Ticket#2024-77] Drucker", ["2024-77"]),
        ("[desk.example #9] and [#9] and [#10]", ["9", "10"]),
        ("[Ticket# ACME-7]", ["ACME-7"]),
        ("[#ä7]", ["ä7"]),
        ("issue #4711 [urgent]", []),
        ("[#]", []),
        ("[#a b]", []),
    ],
)
def test_subject_tags(subject: str, found: list[str]) -> None:
    assert read_subject_tags(subject) == tuple(Mark(ticket_id, verified=False) for ticket_id in found)


def test_a_pattern_of_ones_own() -> None:
    assert read_subject_tags("Re: (T-5)", re.compile(r"\((T-\d+)\)")) == (Mark("T-5", verified=False),)


def test_a_proof_holds_for_its_mail_and_its_recipient_alone() -> None:
    signer = KEYS.signer(NOW)
    message_id = signer.message_id("4711", "event")
    proof = signer.recipient_proof(message_id, "ann@example.org")
    assert proves_recipient(KEYS, f" {proof.upper()} ", message_id, "ann@example.org")
    assert not proves_recipient(KEYS, proof, message_id, "kim@example.org")
    assert not proves_recipient(KEYS, proof, signer.message_id("4711", "other"), "ann@example.org")
    assert not proves_recipient(KEYS, proof[:-1] + "7" * (proof[-1] != "7"), message_id, "ann@example.org")
    assert not proves_recipient(KEYS, "", message_id, "ann@example.org")
    unsigned = SigningKeys("k1", {}, "desk.example")
    written = unsigned.signer(NOW).recipient_proof(message_id, "ann@example.org")
    assert not proves_recipient(unsigned, written, message_id, "ann@example.org")


def test_a_message_id_names_its_event() -> None:
    message_id = KEYS.signer(NOW).message_id("4711", "event")
    assert names_event(message_id, "event")
    assert names_event(message_id.upper(), "event")
    assert not names_event(message_id, "other")
    assert not names_event(KEYS.signer(NOW).root_mark("4711"), "event")
    assert not names_event("<x@y>", "event")
