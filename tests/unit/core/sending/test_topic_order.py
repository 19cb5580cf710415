"""Mail of topics that followed each other under one name keeps its order."""

from dataclasses import replace

from postlane.core.events.status import Origin
from postlane.core.sending.lane_mail import Recovered
from postlane.core.sending.recovery import JournalFold
from unit.core.lane_bench import Bench, arrival
from unit.core.sending.test_lane_refresh import put


def test_topics_keep_their_order_when_the_older_one_is_written_again() -> None:
    """The journal is read from its lowest live put: which topic stands there first says nothing."""
    old = replace(put(9), origin=Origin("old", 9))
    bench = Bench(Recovered(base=0, status_end=0, retry_end=1, parked=((0, b"t", old),)))
    bench.arrive(arrival(0, "t"))
    batch, _ = bench.commit()
    fold = JournalFold()
    fold.add(1, b"t", batch.puts[0].put)
    fold.add(2, b"t", old)
    assert [entry.origin for _, _, entry in fold.parked("new")] == [Origin("old", 9), Origin("T", 0)]
    later = Recovered(base=0, status_end=0, retry_end=3, parked=fold.parked("T"))
    assert Bench(later).lanes.topic_rank == 1
