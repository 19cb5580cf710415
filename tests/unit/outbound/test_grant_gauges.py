"""What alarms see of a relay's OAuth 2 grant."""

import pytest

from postlane.adapters.metrics import Metrics
from postlane.adapters.token_source import Standing
from postlane.core.metrics import OUTBOUND_METRICS
from postlane.outbound.gauges import Gauges


@pytest.mark.parametrize(("broken", "ok"), [(False, 1.0), (True, 0.0)])
def test_a_broken_grant_and_its_end(broken: bool, ok: float) -> None:
    metrics = Metrics(OUTBOUND_METRICS)
    standing = Standing(
        ok=not broken,
        broken=broken,
        words="",
        ends_at=1_800_000_000.0,
        days_left=3.0,
        warns=True,
        unkept=False,
    )
    Gauges(metrics).grant("main", standing)
    value = metrics.registry.get_sample_value
    assert value("postlane_outbound_relay_grant_ok", {"relay": "main"}) == ok
    ends_at = value("postlane_outbound_relay_grant_end_timestamp_seconds", {"relay": "main"})
    assert ends_at == 1_800_000_000.0


def test_an_unknown_end_has_no_series() -> None:
    metrics = Metrics(OUTBOUND_METRICS)
    standing = Standing(
        ok=True, broken=False, words="", ends_at=None, days_left=None, warns=False, unkept=False
    )
    Gauges(metrics).grant("main", standing)
    ends = metrics.registry.get_sample_value(
        "postlane_outbound_relay_grant_end_timestamp_seconds", {"relay": "main"}
    )
    assert ends is None
