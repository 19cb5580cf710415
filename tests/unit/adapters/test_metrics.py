"""The declared metrics and the registry made from them."""

import re

import pytest

from postlane.adapters.metrics import Metrics
from postlane.core import metrics as declared
from postlane.core.metrics import INBOUND_METRICS, OUTBOUND_METRICS, Counter, Gauge, Histogram

EVERY_METRIC = tuple(dict.fromkeys((*OUTBOUND_METRICS, *INBOUND_METRICS)))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(EVERY_METRIC)


@pytest.mark.parametrize("metric", EVERY_METRIC, ids=lambda metric: metric.name)
def test_declaration_follows_the_conventions(metric: declared.Metric) -> None:
    assert re.fullmatch(r"postlane_[a-z]+(_[a-z]+)*", metric.name)
    assert not metric.name.endswith("_total"), "the exposition adds it"
    assert len(metric.help) > 10
    assert len(set(metric.labels)) == len(metric.labels)
    if isinstance(metric, Histogram):
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_every_declared_metric_is_exposed_by_a_service() -> None:
    stated = {value for value in vars(declared).values() if isinstance(value, Counter | Gauge | Histogram)}
    assert stated == set(EVERY_METRIC)
    assert len({metric.name for metric in stated}) == len(stated)


def test_values_appear_in_the_exposition(metrics: Metrics) -> None:
    metrics.counter(declared.MAILS, state="SENT", cause="accepted").inc()
    metrics.gauge(declared.IN_FLIGHT, partition=3).set(2)
    metrics.histogram(declared.COMMIT_SECONDS).observe(0.02)
    lines = metrics.exposition().decode().splitlines()
    assert 'postlane_outbound_mails_total{cause="accepted",state="SENT"} 1.0' in lines
    assert 'postlane_outbound_in_flight_mails{partition="3"} 2.0' in lines
    assert 'postlane_commit_seconds_bucket{le="0.025"} 1.0' in lines
    assert any(line.startswith("# HELP postlane_outbound_lanes ") for line in lines)


def test_wrong_labels_are_refused_by_name(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="postlane_outbound_mails takes the labels"):
        metrics.counter(declared.MAILS, state="SENT").inc()


def test_a_metric_that_was_not_declared_is_refused() -> None:
    with pytest.raises(KeyError):
        Metrics(INBOUND_METRICS).counter(declared.MAILS, state="SENT", cause="accepted")


def test_a_released_relay_leaves_no_series(metrics: Metrics) -> None:
    metrics.gauge(declared.RELAY_HELD, relay="main", cause="quota").set(1)
    metrics.gauge(declared.RELAY_HELD, relay="other", cause="auth").set(1)
    metrics.forget(declared.RELAY_HELD, relay="main")
    text = metrics.exposition().decode()
    assert 'relay="main"' not in text
    assert 'postlane_outbound_relay_held{cause="auth",relay="other"} 1.0' in text


def test_a_partition_given_away_leaves_its_counters_only(metrics: Metrics) -> None:
    metrics.gauge(declared.IN_FLIGHT, partition=3).set(2)
    metrics.gauge(declared.WAITING, partition=3, place="memory").set(7)
    metrics.gauge(declared.WAITING, partition=4, place="memory").set(1)
    metrics.forget_everywhere("partition", 3)
    text = metrics.exposition().decode()
    assert 'partition="3"' not in text
    assert 'partition="4"' in text


def test_two_registries_share_nothing(metrics: Metrics) -> None:
    other = Metrics(EVERY_METRIC)
    metrics.counter(declared.DUPLICATES).inc()
    assert "postlane_outbound_duplicates_total 0.0" in other.exposition().decode()
