"""Where a new owner reads from, and what it concludes."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from postlane.core.events.status import MailState, MailStatus, Origin
from postlane.core.events.trail import Done, Put
from postlane.core.sending.pointers import BadPointers, Pointers, decode_pointers, encode_pointers
from postlane.core.sending.recovery import Found, JournalFold, StatusFold, conclude, plan_recovery

POINTERS = Pointers(topic_id="T", status_from=40, retry_from=30)
FOUND = Found(
    commit=(20, encode_pointers(POINTERS)), topic_id="T", main_low=0, main_end=100, status_low=0, retry_low=0
)


def put(topic_id: str, offset: int, attempt: int = 1) -> Put:
    return Put(
        origin=Origin(topic_id, offset),
        attempt=attempt,
        first_seen_ms=1,
        due_ms=2,
        remaining=None,
        held=0,
        cause="c",
        reason="r",
    )


def status(
    topic_id: str, offset: int, state: MailState, *, final: bool, event_id: str | None = None
) -> MailStatus:
    return MailStatus(
        status_id="s",
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        state=state,
        final=final,
        topic_id=topic_id,
        partition=0,
        offset=offset,
        cause="c",
        reason="r",
        attempt=1,
        instance="i",
        request_event_id=event_id,
    )


def test_pointers_round_trip() -> None:
    assert decode_pointers(encode_pointers(POINTERS)) == POINTERS


@pytest.mark.parametrize("metadata", ["", "1;T;x;2", "2;T;1;2", "1;;1;2", "1;T;1", "anything"])
def test_foreign_metadata_is_told_apart(metadata: str) -> None:
    with pytest.raises(BadPointers):
        decode_pointers(metadata)


def test_the_pointers_say_where_to_read() -> None:
    plan = plan_recovery(FOUND)
    assert (plan.base, plan.status_from, plan.retry_from, plan.alarms) == (20, 40, 30, ())


def test_without_a_commit_everything_is_read_silently() -> None:
    plan = plan_recovery(replace(FOUND, commit=None, main_low=3, status_low=4, retry_low=5))
    assert (plan.base, plan.status_from, plan.retry_from, plan.alarms) == (3, 4, 5, ())


def test_lost_pointers_rebuild_from_the_start_and_say_so() -> None:
    plan = plan_recovery(replace(FOUND, commit=(20, "")))
    assert (plan.base, plan.status_from, plan.retry_from) == (0, 0, 0)
    assert "rebuilt" in plan.alarms[0]


def test_a_recreated_topic_is_read_from_its_start() -> None:
    plan = plan_recovery(replace(FOUND, topic_id="U"))
    assert plan.base == 0
    assert "recreated" in plan.alarms[0]


def test_deleted_data_is_an_alarm_and_recovery_goes_on() -> None:
    plan = plan_recovery(replace(FOUND, main_low=25, status_low=45, retry_low=35))
    assert (plan.base, plan.status_from, plan.retry_from) == (25, 45, 35)
    assert len(plan.alarms) == 3


def test_a_main_topic_that_ends_below_the_commit_lost_records() -> None:
    plan = plan_recovery(replace(FOUND, main_end=10))
    assert plan.base == 10
    assert "records were lost" in plan.alarms[0]
    fold = StatusFold("T", 0.0)
    fold.add(0, status("T", 15, MailState.SENT, final=True))
    assert conclude(plan, JournalFold(), fold, (1, 0), "T").done == {}, "offset 15 is used anew"


def test_the_journal_keeps_the_newest_put_without_a_done() -> None:
    fold = JournalFold()
    fold.add(0, b"a", put("T", 5))
    fold.add(1, b"a", put("T", 3))
    fold.add(2, b"a", put("T", 5, attempt=2))
    fold.add(3, b"a", Done(origin=Origin("T", 3)))
    assert fold.parked("T") == ((2, b"a", put("T", 5, attempt=2)),)


def test_mail_of_earlier_topics_comes_first() -> None:
    fold = JournalFold()
    ranks = {"older": 0, "old": 1, "new": 2}
    for offset, entry in enumerate([put("old", 9), put("new", 1), put("older", 2), put("old", 4)]):
        fold.add(offset, b"a", replace(entry, topic_rank=ranks[entry.origin.topic_id]))
    assert [entry.origin for _, _, entry in fold.parked("new")] == [
        Origin("older", 2),
        Origin("old", 4),
        Origin("old", 9),
        Origin("new", 1),
    ]


def test_only_ends_of_this_topic_prove_anything() -> None:
    fold = StatusFold("T", 0.0)
    fold.add(40, status("T", 21, MailState.SENT, final=True))
    fold.add(41, status("T", 22, MailState.DEFERRED, final=False))
    fold.add(42, status("U", 23, MailState.SENT, final=True))
    fold.add(43, status("T", 5, MailState.SENT, final=True))
    recovered = conclude(plan_recovery(FOUND), JournalFold(), fold, (44, 0), "T")
    assert recovered.done == {21: 40}


def test_event_ids_of_the_window_are_remembered_by_their_first_origin() -> None:
    fold = StatusFold("T", datetime(2025, 12, 31, tzinfo=UTC).timestamp())
    fold.add(0, status("T", 21, MailState.SENT, final=True, event_id="e"))
    fold.add(1, status("T", 22, MailState.DUPLICATE, final=True, event_id="e"))
    assert fold.seen["e"][0] == Origin("T", 21)
    outside = StatusFold("T", datetime(2026, 1, 2, tzinfo=UTC).timestamp())
    outside.add(0, status("T", 21, MailState.SENT, final=True, event_id="e"))
    assert outside.seen == {}


def test_a_committed_duplicate_does_not_stand_for_the_mail_that_it_repeats() -> None:
    """The first of two equal requests was in flight when its sender was killed; the second was committed as DUPLICATE."""
    fold = StatusFold("T", 0.0)
    fold.add(0, status("T", 22, MailState.DUPLICATE, final=True, event_id="e"))
    assert fold.seen == {}
    assert fold.done == {22: 0}


def test_a_duplicate_does_not_stand_for_its_original() -> None:
    fold = StatusFold("T", 0.0)
    fold.add(0, status("T", 22, MailState.DUPLICATE, final=True, event_id="e"))
    assert fold.seen == {}
