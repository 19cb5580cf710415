"""Dead mail: what is open, what a selection means, and in which order a replay writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.dlq import (
    DeadMail,
    DlqRecord,
    LeftOut,
    Place,
    Plan,
    Selection,
    Unreadable,
    batches,
    fold,
    plan_discard,
    plan_replay,
    replay_headers,
    resolution_headers,
    unknown_causes,
)
from postlane.core.events.status import Origin
from postlane.core.events.trail import (
    Dead,
    Put,
    ReplayOf,
    Resolution,
    Resolved,
    decode,
    decode_replay,
    encode,
    without_trail,
)

OWN_HEADERS = (("ce_id", b"event-1"), ("traceparent", b"00-1-2-01"))


def death(offset: int, **changes: object) -> Dead:
    fields: dict[str, object] = {
        "origin": Origin("topic-1", offset),
        "origin_topic": "mail.outbound",
        "partition": 0,
        "attempt": 1,
        "first_seen_ms": 1000 + offset,
        "died_ms": 5000 + offset,
        "remaining": None,
        "cause": "no_such_recipient",
        "reason": "the recipient does not exist",
        "reply": "550 5.1.1 No such user",
    }
    return Dead(**(fields | changes))  # type: ignore[arg-type]


def answer(
    of: int, how: Resolution = Resolution.REPLAYED, at_ms: int = 9000, reason: str = "fixed"
) -> Resolved:
    return Resolved(dead_offset=of, resolution=how, resolved_at_ms=at_ms, reason=reason)


STRAY_PUT = Put(
    origin=Origin("t", 1),
    attempt=1,
    first_seen_ms=1,
    due_ms=1,
    remaining=None,
    held=0,
    cause="connection_lost",
    reason="later",
)


def record(
    place: Place, entry: Dead | Resolved | Put | None, key: bytes | None = b"T-1", size: int = 100
) -> DlqRecord:
    trail = () if entry is None else encode(entry)
    return DlqRecord(place=place, key=key, size_bytes=size, headers=(*OWN_HEADERS, *trail))


def dead(place: int, origin: int | None = None, key: bytes | None = b"T-1", **changes: object) -> DlqRecord:
    return record(Place(0, place), death(place if origin is None else origin, **changes), key)


def resolved(place: int, of: int) -> DlqRecord:
    return record(Place(0, place), answer(of))


def offsets(plan: Plan) -> list[int]:
    return [mail.place.offset for mail in plan.mails]


def test_a_dead_mail_is_open_until_a_record_of_its_partition_resolves_it() -> None:
    mails = fold([dead(3), dead(4), resolved(5, of=3), record(Place(1, 9), answer(4))])
    assert [(mail.place.offset, mail.open) for mail in mails] == [(3, False), (4, True)]
    assert mails[0].resolutions == (answer(3),)
    assert mails[0].headers == OWN_HEADERS
    assert mails[0].ticket_id == "T-1"


def test_a_resolution_may_be_read_before_its_mail_or_without_it() -> None:
    assert [mail.open for mail in fold([resolved(9, of=3), dead(3)])] == [False]
    assert fold([resolved(9, of=3)]) == []


@pytest.mark.parametrize("entry", [None, STRAY_PUT])
def test_a_foreign_record_is_kept_as_unreadable(entry: Put | None) -> None:
    (mail,) = fold([record(Place(0, 1), entry)])
    assert isinstance(mail.obituary, Unreadable)
    assert mail.obituary.reason
    plan = plan_replay([mail], Selection(), again=False)
    assert plan.left_out == ((mail, LeftOut.UNREADABLE),)
    assert plan_discard([mail], Selection()).mails == (mail,)


def test_a_resolution_word_that_nobody_knows_does_not_break_the_list() -> None:
    strange = tuple(
        (name, b"sent-by-pigeon" if name == "x-postlane-resolution" else value)
        for name, value in encode(answer(3))
    )
    mails = fold([dead(3), DlqRecord(place=Place(0, 4), key=b"T-1", size_bytes=0, headers=strange)])
    assert [type(mail.obituary) for mail in mails] == [Dead, Unreadable]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), [0, 1, 2]),
        (Selection(tickets=frozenset({"T-2"})), [1]),
        (Selection(causes=frozenset({"quota"})), [2]),
        (Selection(causes=frozenset({"quota", "no_such_recipient"})), [0, 1, 2]),
        (Selection(reason="NO SUCH"), [0, 1]),
        (Selection(reason="daily limit"), [2]),
        (Selection(since_ms=5001), [1, 2]),
        (Selection(until_ms=5001), [0]),
        (Selection(since_ms=5001, until_ms=5002), [1]),
        (Selection(places=frozenset({Place(0, 2), Place(1, 0)})), [2]),
        (Selection(tickets=frozenset({"T-2"}), causes=frozenset({"quota"})), []),
    ],
)
def test_a_selection_restricts_by_everything_that_it_names(selection: Selection, expected: list[int]) -> None:
    mails = fold(
        [
            dead(0),
            dead(1, key=b"T-2"),
            dead(2, cause="quota", reason="the daily limit is used up", reply=None),
        ]
    )
    assert [mail.place.offset for mail in mails if selection.holds(mail)] == expected


def test_a_selected_cause_that_nothing_can_bear_is_named() -> None:
    mails = fold([dead(0, cause="of_an_older_version"), record(Place(0, 1), None)])
    wanted = Selection(causes=frozenset({"quota", "of_an_older_version", "qouta", "no_such_recipient"}))
    assert unknown_causes(wanted, frozenset({"quota"}), mails) == ["no_such_recipient", "qouta"]
    assert unknown_causes(Selection(), frozenset(), mails) == []


def test_whole_tickets_go_in_the_order_of_their_origin() -> None:
    mails = fold([dead(0, origin=30), dead(1, origin=10), dead(2, origin=20, key=b"T-2"), dead(3, origin=20)])
    plan = plan_replay(mails, Selection(), again=False)
    assert offsets(plan) == [1, 3, 0, 2]
    assert not plan.added


def test_a_selected_mail_takes_the_open_ones_of_its_ticket_along() -> None:
    mails = fold([dead(0), dead(1, cause="quota"), dead(2, key=b"T-2"), dead(3), resolved(4, of=3)])
    quota = Selection(causes=frozenset({"quota"}))
    plan = plan_replay(mails, quota, again=False)
    assert offsets(plan) == [0, 1]
    assert plan.added == {Place(0, 0)}
    assert offsets(plan_replay(mails, quota, again=False, alone=True)) == [1]


def test_a_resolved_mail_is_left_out_unless_asked_for_again() -> None:
    mails = fold([dead(0), dead(1), resolved(2, of=0), dead(3), resolved(4, of=3)])
    first = Selection(places=frozenset({Place(0, 0)}))
    plan = plan_replay(mails, first, again=False)
    assert plan.mails == ()
    assert [(mail.place.offset, why) for mail, why in plan.left_out] == [(0, LeftOut.RESOLVED)]
    assert offsets(plan_replay(mails, first, again=True)) == [0, 1], "3 is resolved and nobody asked for it"


def test_a_keyless_mail_is_never_replayed_not_even_along_with_another() -> None:
    mails = fold([dead(0, key=None), dead(1, key=None)])
    plan = plan_replay(mails, Selection(), again=False)
    assert plan.mails == ()
    assert {why for _, why in plan.left_out} == {LeftOut.KEYLESS}


def test_a_discard_touches_exactly_what_is_meant_and_open() -> None:
    mails = fold([dead(0), dead(1, cause="quota"), dead(2, cause="quota"), resolved(3, of=2)])
    plan = plan_discard(mails, Selection(causes=frozenset({"quota"})))
    assert offsets(plan) == [1]
    assert [mail.place.offset for mail, _ in plan.left_out] == [2]


def test_mails_of_a_recreated_topic_come_after_those_of_the_old_one() -> None:
    old = dead(0, origin=900, first_seen_ms=100)
    new = dead(1, first_seen_ms=2000, origin=0)
    newer = record(Place(0, 1), death(0, origin=Origin("topic-2", 3), first_seen_ms=2000))
    assert offsets(plan_replay(fold([newer, old]), Selection(), again=False)) == [0, 1]
    assert offsets(plan_replay(fold([new, old]), Selection(), again=False)) == [1, 0], (
        "one topic: by offset alone"
    )


def test_a_replayed_request_carries_its_own_headers_and_where_it_comes_from() -> None:
    (mail,) = fold([dead(7, remaining=("b@example.com",))])
    headers = replay_headers(mail)
    assert without_trail(headers) == OWN_HEADERS
    assert decode_replay(headers) == (ReplayOf(0, 7), ("b@example.com",))


def test_a_resolution_record_names_the_dead_mail() -> None:
    (mail,) = fold([dead(7)])
    headers = resolution_headers(mail, Resolution.DISCARDED, 42, "spam")
    assert decode(headers) == answer(7, Resolution.DISCARDED, 42, "spam")


PLANNED = st.lists(
    st.tuples(st.sampled_from([b"A", b"B", b"C", None]), st.integers(0, 50), st.integers(1, 300)), max_size=40
)


def planned(rows: list[tuple[bytes | None, int, int]]) -> list[DeadMail]:
    return fold(
        record(Place(0, place), death(origin), key, size) for place, (key, origin, size) in enumerate(rows)
    )


@given(PLANNED)
def test_a_plan_holds_every_open_mail_once_with_tickets_whole_and_ordered(
    rows: list[tuple[bytes | None, int, int]],
) -> None:
    mails = planned(rows)
    plan = plan_replay(mails, Selection(), again=False)
    assert {mail.place for mail in plan.mails} == {mail.place for mail in mails if mail.key is not None}
    assert len(plan.mails) + len(plan.left_out) == len(mails)
    keys = [mail.key for mail in plan.mails]
    assert len([n for n, key in enumerate(keys) if n == 0 or keys[n - 1] != key]) == len(set(keys))
    for ticket in set(keys):
        origins = [
            m.obituary.origin.offset for m in plan.mails if m.key == ticket and isinstance(m.obituary, Dead)
        ]
        assert origins == sorted(origins)


@given(PLANNED, st.integers(1, 7), st.integers(1, 900))
def test_batches_keep_the_order_and_the_limits_and_split_no_ticket_that_fits(
    rows: list[tuple[bytes | None, int, int]], mails_max: int, bytes_max: int
) -> None:
    plan = plan_replay(planned(rows), Selection(), again=False)
    cut = list(batches(plan.mails, mails_max, bytes_max))
    assert [mail for batch in cut for mail in batch] == list(plan.mails)
    for batch in cut:
        assert len(batch) == 1 or (
            len(batch) <= mails_max and sum(mail.size_bytes for mail in batch) <= bytes_max
        )
    for key in {mail.key for mail in plan.mails}:
        ticket = [mail for mail in plan.mails if mail.key == key]
        if len(ticket) <= mails_max and sum(mail.size_bytes for mail in ticket) <= bytes_max:
            assert sum(any(mail.key == key for mail in batch) for batch in cut) == 1
