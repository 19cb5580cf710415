"""The declared metrics as a Prometheus registry of our own; nothing is global, so that tests and services can hold several."""

from collections.abc import Iterable
from typing import assert_never

import prometheus_client as prometheus
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from postlane.core.metrics import Counter, Gauge, Histogram, Metric

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_Made = prometheus.Counter | prometheus.Gauge | prometheus.Histogram


class Metrics:
    """Access by declaration: `metrics.counter(MAILS, state="SENT", cause="accepted").inc()`. Thread-safe.

    Every accessor raises KeyError for a metric that was not among those given, and ValueError for wrong label names.
    """

    def __init__(self, declared: Iterable[Metric]) -> None:
        self.registry = prometheus.CollectorRegistry(auto_describe=True)
        prometheus.ProcessCollector(registry=self.registry)
        prometheus.PlatformCollector(registry=self.registry)
        self._made: dict[Metric, _Made] = {metric: _make(metric, self.registry) for metric in declared}

    def counter(self, metric: Counter, /, **labels: str | int) -> prometheus.Counter:
        """The counter with these label values."""
        made = self._labelled(metric, labels)
        assert isinstance(made, prometheus.Counter)
        return made

    def gauge(self, metric: Gauge, /, **labels: str | int) -> prometheus.Gauge:
        """The gauge with these label values."""
        made = self._labelled(metric, labels)
        assert isinstance(made, prometheus.Gauge)
        return made

    def histogram(self, metric: Histogram, /, **labels: str | int) -> prometheus.Histogram:
        """The histogram with these label values."""
        made = self._labelled(metric, labels)
        assert isinstance(made, prometheus.Histogram)
        return made

    def forget(self, metric: Metric, /, **labels: str | int) -> None:
        """Drop every series with these label values, such as all of a partition that was given away."""
        self._made[metric].remove_by_labels({name: str(value) for name, value in labels.items()})

    def forget_everywhere(self, label: str, value: str | int) -> None:
        """Drop the series with this label value of every gauge that has the label; what was counted stays counted."""
        for metric in self._made:
            if isinstance(metric, Gauge) and label in metric.labels:
                self.forget(metric, **{label: value})

    def exposition(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self.registry)

    def _labelled(self, metric: Metric, labels: dict[str, str | int]) -> _Made:
        made = self._made[metric]
        if labels.keys() != set(metric.labels):
            raise ValueError(f"{metric.name} takes the labels {metric.labels}, not {tuple(labels)}")
        return made.labels(**labels) if labels else made


def _make(metric: Metric, registry: prometheus.CollectorRegistry) -> _Made:
    match metric:
        case Counter(name, text, labels):
            return prometheus.Counter(name, text, labels, registry=registry)
        case Gauge(name, text, labels):
            return prometheus.Gauge(name, text, labels, registry=registry)
        case Histogram(name, text, labels, buckets):
            return prometheus.Histogram(name, text, labels, registry=registry, buckets=buckets)
        case _:
            assert_never(metric)
