"""One batch at a time, and faults that are said rather than written."""

import pytest

from postlane.core.events.status import Origin
from postlane.core.sending.committing import Committing
from postlane.core.sending.lane_mail import Aborted, Committed, CutDue, Event, LaneMail, RouteOpens, Staged
from postlane.core.sending.ledger import Ledger
from unit.core.lane_bench import Bench, arrival, deferred, sent, states


def test_a_second_batch_waits_for_the_end_of_the_first() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1, "u"))
    bench.starts()
    bench.end(0, sent())
    batch = bench.cut()
    assert batch is not None
    bench.end(1, sent())
    assert bench.play(CutDue()) == []
    bench.stage(batch)
    assert bench.play(CutDue()) == []
    bench.play(Committed())
    assert [offset for offset, _ in states(bench.commit()[0])] == [1]


@pytest.mark.parametrize("event", [Staged((), ()), Committed(), Aborted()])
def test_what_ends_no_batch_is_a_fault(event: Event) -> None:
    with pytest.raises(RuntimeError, match="no batch is open"):
        Bench().play(event)


def test_a_mail_without_its_bytes_is_never_written() -> None:
    committing = Committing(Ledger("T", {}, {}, (0, 0)), "T", 0)
    committing.want_put(
        LaneMail(origin=Origin("T", 7), key=b"t", lane=b"t", content=None, due=0.0, first_seen=0.0)
    )
    with pytest.raises(RuntimeError, match="offset=7"):
        committing.cut(lambda _: False, even_empty=False)


def test_a_relay_that_opens_without_having_held_makes_nobody_younger() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    bench.starts()
    bench.end(0, deferred())
    first_seen = bench.lanes.mails[Origin("T", 0)].first_seen
    bench.now += 5
    assert bench.play(RouteOpens()) == []
    assert bench.lanes.mails[Origin("T", 0)].first_seen == first_seen
