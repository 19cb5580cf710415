"""Return paths that name their mail: what is written can be read however its case is folded, what was changed proves nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from postlane.core.addresses import LOCAL_PART_MAX, wire_address
from postlane.core.return_paths import ReturnPath, names_recipient, read_return_path, write_return_path
from postlane.core.ticket_marks import Mark, Signer, SigningKeys, read_plus_address

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD = b"an old secret of some length"
NEW = b"a new secret of some length"
KEYS = SigningKeys("k1", {"k1": OLD}, "Desk.example")
SIGNER = KEYS.signer(NOW)
UUID = "0189c2a0-7f4e-7cc1-9c3b-1d2e3f405162"
ANN, KIM = "ann@example.org", "kim@example.org"

ticket_ids = st.one_of(
    st.text(min_size=1, max_size=30),
    st.from_regex(r"[A-Z]{2,5}-[0-9]{1,6}", fullmatch=True),
    st.integers(min_value=0).map(str),
    st.uuids().map(str),
)
mailboxes = st.one_of(st.none(), st.sampled_from([ANN, KIM, "jürgen@example.org", '"a b"@example.org']))
addresses = st.sampled_from(["b@desk.example", "support@desk.example", "bounces-of-the-desk@[192.0.2.1]"])


def written(
    ticket_id: str = "4711",
    event_id: str = "e-1",
    mailbox: str | None = ANN,
    address: str = "support@desk.example",
    signer: Signer = SIGNER,
) -> str | None:
    return write_return_path(signer, address, ticket_id=ticket_id, event_id=event_id, mailbox=mailbox)


def sent(**of: str | None) -> str:
    address = written(**of)  # type: ignore[arg-type]
    assert address is not None
    return address


def read(address: str, keys: SigningKeys = KEYS) -> ReturnPath:
    path = read_return_path(keys, address)
    assert path is not None
    return path


def proves(path: ReturnPath | None) -> bool:
    """Whether it says anything that would be believed."""
    if path is None:
        return False
    return path.mark.verified or path.message_id is not None or names_recipient(KEYS, path, ANN)


@given(ticket_ids, st.text(), mailboxes, addresses)
def test_what_is_written_fits_and_gives_its_mail_back(
    ticket_id: str, event_id: str, mailbox: str | None, address: str
) -> None:
    given_back = written(ticket_id, event_id, mailbox, address)
    assume(given_back is not None)
    assert given_back is not None
    local, _, domain = given_back.rpartition("@")
    assert len(local) <= LOCAL_PART_MAX
    assert wire_address(given_back) == given_back
    assert (local.partition("+")[0], domain) == (address.rpartition("@")[0], address.rpartition("@")[2])
    path = read(given_back)
    assert path.mark == Mark(ticket_id, verified=True, key_id="k1")
    assert path.message_id in (SIGNER.message_id(ticket_id, event_id), None)
    assert bool(path.recipient) <= (mailbox is not None)
    for other in (ANN, KIM, "jürgen@example.org", '"a b"@example.org', "", "victim@example.com"):
        assert names_recipient(KEYS, path, other) == (bool(path.recipient) and other == mailbox)


@given(ticket_ids, mailboxes, st.lists(st.booleans(), min_size=90, max_size=90))
def test_folded_case_changes_nothing(ticket_id: str, mailbox: str | None, upper: list[bool]) -> None:
    address = written(ticket_id, "e", mailbox)
    assume(address is not None)
    assert address is not None
    folded = "".join(one.upper() if fold else one for one, fold in zip(address, upper * 2, strict=False))
    assert read(folded) == read(address)
    assert read(f" <{address.upper()}> ") == read(address)


@given(
    st.sampled_from(["4711", "ACME-7", UUID, "x" * 30]),
    st.sampled_from("+-="),
    st.integers(0, 200),
    st.characters(),
)
def test_what_was_changed_proves_nothing(ticket_id: str, kind: str, place: int, character: str) -> None:
    address = sent(ticket_id=ticket_id)
    tag = address.partition("+")[2].partition("@")[0]
    at = place % len(tag)
    changed = tag[:at] + ("" if kind == "-" else character) + tag[at + (kind != "+") :]
    # Case is not signed, and a tag of its own before ours leaves ours whole.
    assume(changed.lower() != tag and not changed.endswith(f"+{tag}"))
    assert not proves(read_return_path(KEYS, f"support+{changed}@desk.example"))


@given(st.sampled_from(["4711", UUID]), st.integers(0, 200), st.integers(0, 200))
def test_what_was_cut_off_proves_nothing(ticket_id: str, begin: int, end: int) -> None:
    tag = sent(ticket_id=ticket_id).partition("+")[2].partition("@")[0]
    cut = tag[begin % len(tag) : end % len(tag)]
    assert not proves(read_return_path(KEYS, f"support+{cut}@desk.example"))


@given(st.text(), st.text(alphabet="v.+@<>tubk1a27", max_size=70))
def test_any_text_can_be_asked_about(text: str, near: str) -> None:
    assert not proves(read_return_path(KEYS, text))
    assert not proves(read_return_path(KEYS, near))


def test_the_code_of_a_recipient_is_another_one_in_every_mail() -> None:
    paths = [sent(), sent(event_id="e-2"), sent(ticket_id="4712"), sent(ticket_id=UUID), sent(mailbox=KIM)]
    assert len({read(path).recipient for path in paths}) == len(paths)


def test_the_parts_of_one_mail_make_no_other() -> None:
    """Everything that a recipient of several mails has, put together in every way, but for the mails that he got."""
    mails = [sent(ticket_id="1", mailbox=ANN), sent(ticket_id="1", event_id="e-2", mailbox=KIM)]
    pieces = [address.partition("+")[2].partition("@")[0].split(".") for address in mails]
    for head in pieces:
        for block in (
            *(piece[1] for piece in pieces),
            pieces[0][1][:16] + pieces[1][1][16:],
            pieces[0][1][16:],
        ):
            for keyed in pieces:
                mixed = [head[0], block, keyed[2]]
                path = read_return_path(KEYS, f"support+{'.'.join(mixed)}@desk.example")
                assert proves(path) == (mixed in pieces)


@pytest.mark.parametrize(
    ("ticket_id", "address", "mail", "recipient"),
    [
        ("4711", "support@desk.example", True, True),
        ("1234567890", "support@desk.example", True, True),
        ("12345678901", "support@desk.example", False, True),
        ("ACME-123", "bounce@desk.example", False, True),
        ("ACME-123", "bo@desk.example", True, True),
        (UUID, "support@desk.example", False, True),
        (UUID, "support-desk@desk.example", False, False),
    ],
)
def test_where_room_is_short_the_mail_goes_before_the_recipient(
    ticket_id: str, address: str, *, mail: bool, recipient: bool
) -> None:
    path = read(sent(ticket_id=ticket_id, address=address))
    assert path.mark.ticket_id == ticket_id
    assert (path.message_id is not None, names_recipient(KEYS, path, ANN)) == (mail, recipient)


@pytest.mark.parametrize(
    ("ticket_id", "address"),
    [
        ("4711", "x" * 60 + "@desk.example"),
        ("4711", '"a b"@desk.example'),
        ("4711", "@desk.example"),
        ("4711", "help@" + "d" * 230 + ".com"),
        ("Ä" * 40, "support@desk.example"),
    ],
)
def test_what_never_fits_is_left_alone(ticket_id: str, address: str) -> None:
    assert written(ticket_id, address=address) is None


def test_several_recipients_are_named_by_nothing() -> None:
    path = read(sent(mailbox=None))
    assert (path.message_id, path.recipient) == (SIGNER.message_id("4711", "e-1"), "")
    assert not names_recipient(KEYS, path, "")


def test_a_return_path_is_no_reply_address_nor_the_other_way_round() -> None:
    for mailbox in (ANN, None):
        assert read_plus_address(KEYS, sent(mailbox=mailbox)) is None
    bare = sent(ticket_id="x" * 30)
    assert read(bare).message_id is None
    assert read_plus_address(KEYS, bare) is None
    reply = SIGNER.plus_address("support@desk.example", "4711")
    assert reply is not None
    assert read_return_path(KEYS, reply) is None
    # Nor does its signature hold with a v before it, nor that of a Message-ID.
    tag = reply.partition("+")[2]
    assert not proves(read(f"support+v{tag}"))
    local = SIGNER.message_id("4711", "e-1").strip("<>").partition("@")[0]
    assert not proves(read(f"support+v{local}@desk.example"))


def test_a_removed_key_proves_nothing_any_more_and_a_kept_one_does() -> None:
    address = sent()
    rotated = SigningKeys("k2", {"k1": OLD, "k2": NEW}, "desk.example", since={"k2": NOW + timedelta(days=1)})
    assert read(address, rotated) == read(address)
    assert written(signer=rotated.signer(NOW)) == address
    assert names_recipient(rotated, read(address, rotated), ANN)
    removed = SigningKeys("k2", {"k2": NEW}, "desk.example")
    assert read(address, removed) == ReturnPath(Mark("4711", verified=False, key_id="k1"))
    assert not names_recipient(removed, read(address), ANN)
    stolen_name = SigningKeys("k1", {"k1": NEW}, "desk.example")
    assert not read(address, stolen_name).mark.verified
    assert not names_recipient(stolen_name, read(address), ANN)


def test_the_message_ids_of_another_domain_are_not_made_up() -> None:
    moved = SigningKeys("k1", {"k1": OLD}, "new.example")
    assert not read(sent(), moved).mark.verified


def test_without_keys_nothing_is_proven() -> None:
    unsigned = SigningKeys("k1", {}, "desk.example")
    address = written(signer=unsigned.signer(NOW))
    assert address is not None
    assert not read(address, unsigned).mark.verified


def test_the_secret_shows_nowhere() -> None:
    assert "secret" not in repr(read(sent()))
