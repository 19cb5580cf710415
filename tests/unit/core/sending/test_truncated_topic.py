"""The main topic has lost its end, and its offsets are used anew."""

from postlane.core.events.status import MailState
from postlane.core.sending.lane_mail import CutDue, WriteBatch
from postlane.core.sending.pointers import Pointers, encode_pointers
from postlane.core.sending.recovery import Found, JournalFold, StatusFold, conclude, plan_recovery
from unit.core.lane_bench import Bench
from unit.core.sending.test_recovery import status


def found(main_end: int) -> Found:
    pointers = Pointers(topic_id="T", status_from=10, retry_from=0)
    return Found(
        commit=(4, encode_pointers(pointers)),
        topic_id="T",
        main_low=0,
        main_end=main_end,
        status_low=0,
        retry_low=0,
    )


def test_a_status_below_the_pointer_proves_nothing() -> None:
    """It is read for the duplicate window; the record that it speaks of may have been lost, and its offset used anew."""
    fold = StatusFold("T", 0.0)
    fold.add(9, status("T", 6, MailState.SENT, final=True))
    fold.add(10, status("T", 5, MailState.SENT, final=True))
    assert conclude(plan_recovery(found(20)), JournalFold(), fold, (11, 0), "T").done == {5: 10}


def test_a_topic_that_lost_its_end_above_the_committed_offset_proves_nothing() -> None:
    fold = StatusFold("T", 0.0)
    fold.add(10, status("T", 5, MailState.SENT, final=True))
    fold.add(11, status("T", 12, MailState.SENT, final=True))
    recovered = conclude(plan_recovery(found(12)), JournalFold(), fold, (12, 0), "T")
    assert recovered.done == {}
    bench = Bench(recovered)
    assert bench.play(CutDue()) == [WriteBatch()], (
        "it is committed at once: the next owner may no longer see it"
    )
