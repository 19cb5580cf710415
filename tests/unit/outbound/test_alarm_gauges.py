"""What alarms look at: the backlog of all partitions, and the dead letters written."""

from collections import Counter

import pytest

from postlane.adapters.metrics import Metrics
from postlane.core.metrics import OUTBOUND_METRICS
from postlane.core.sending.lane_mail import Recovered
from postlane.outbound.gauges import Gauges
from unit.core.lane_bench import NOW, Bench, arrival, refused


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(OUTBOUND_METRICS)


def test_the_backlog_is_that_of_the_partition_that_waits_longest(metrics: Metrics) -> None:
    gauges = Gauges(metrics)
    assert gauges.oldest_ready_seconds == 0.0
    busy, idle = Bench(), Bench(Recovered(base=0, status_end=0, retry_end=0))
    busy.arrive(arrival(0, "a"))
    gauges.partition(3, busy.lanes, Counter(), 0)
    gauges.partition(4, idle.lanes, Counter(), 0)
    value = metrics.registry.get_sample_value
    waiting = value("postlane_outbound_oldest_ready_seconds", {"partition": "3"})
    assert waiting is not None
    assert waiting > 0, f"a mail that is ready since {NOW}"
    assert value("postlane_outbound_oldest_ready_seconds", {"partition": "4"}) == 0
    assert gauges.oldest_ready_seconds == waiting
    gauges.forget(3)
    assert gauges.oldest_ready_seconds == 0.0


def test_dead_letters_are_counted_when_they_are_durable(metrics: Metrics) -> None:
    gauges, bench = Gauges(metrics), Bench()
    bench.arrive(arrival(0, "a"), arrival(1, "b"))
    bench.starts()
    bench.end(0, refused())
    bench.end(1, refused())
    batch, _ = bench.commit()
    assert metrics.registry.get_sample_value("postlane_outbound_dead_letters_total") == 0
    gauges.committed(batch, 0.01)
    assert gauges.dead_letters == 2
    assert metrics.registry.get_sample_value("postlane_outbound_dead_letters_total") == 2
