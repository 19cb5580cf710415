"""The limits under which the simulation plays: small enough that a short schedule reaches them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from postlane.core.routing.routes import Route
from postlane.core.sending import journal_age, lane_loading, lane_relief, lane_steps
from postlane.core.sending.lanes import LanesPolicy
from postlane.core.sending.retry import RetryPolicy
from sim.lanes.records import BULK

CONNECTIONS = 3
UNCOMMITTED_MAX = 4  # K, small so that the bound is often reached
CAUTION_SECONDS = 60.0
SENDER_HOLD_SECONDS_MAX = 60.0
ONE_WAY = (Route(),)
TWO_WAYS = (Route(name="bulk", tags=frozenset({BULK})), Route())

# What an hour, a hundred thousand records or a minute are to a real sender.
_SMALL = (
    (journal_age, "MARK_SECONDS", 2.0),
    (lane_relief, "REFRESH_SECONDS", 3.0),
    (lane_relief, "REFRESH_MAX", 2),
    (lane_relief, "DEAD_RECORDS_MIN", 15),
    (lane_relief, "LIVE_SHARE_MIN", 0.25),
    (lane_relief, "BASE_SECONDS_MAX", 15.0),
    (lane_loading, "LOADS_MAX", 2),
    (lane_steps, "LOADS_MAX", 2),
)


@contextmanager
def small_limits() -> Iterator[None]:
    """Scale the core's constants down, and back again afterwards."""
    before = [(module, name, getattr(module, name)) for module, name, _ in _SMALL]
    try:
        for module, name, value in _SMALL:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What kind of schedule a seed plays; the shares are chances per step."""

    policy: LanesPolicy
    tickets: int
    crash_share: float
    marker_share: float
    operator_share: float
    recreate_share: float
    lost_pointers_share: float
    low_share: float
    truncate_share: float


def traits_of(rnd: random.Random) -> Traits:
    """Draw the kind of schedule."""
    policy = LanesPolicy(
        retry=RetryPolicy(
            delays_seconds=(2.0, 30.0),
            jitter_share=0.5,
            age_max_seconds=rnd.choice([1e9, 1e9, 200.0]),
            memory_delay_seconds=5.0,
        ),
        window_mails=8,
        window_bytes=1_000_000,
        uncommitted_max=UNCOMMITTED_MAX,
        duplicate_window_seconds=rnd.choice([0.0, 0.0, 40.0, 1e9]),
        index_mails=rnd.choice([1_000_000, 1_000_000, 10]),
        refresh_age_seconds=rnd.choice([1e9, 15.0]),
        recommit_seconds=500.0,
        routes=tuple(
            replace(route, hold_dead=rnd.random() < 0.4) for route in rnd.choice([ONE_WAY, TWO_WAYS])
        ),
    )
    return Traits(
        policy=policy,
        tickets=rnd.randint(1, 3),
        crash_share=rnd.choice([0.005, 0.02, 0.05]),
        marker_share=rnd.choice([0.1, 0.5, 0.9]),
        operator_share=rnd.choice([0.0, 0.05, 0.15]),
        recreate_share=rnd.choice([0.0, 0.0, 0.01, 0.03]),
        lost_pointers_share=rnd.choice([0.0, 0.0, 0.01]),
        low_share=rnd.choice([0.0, 0.0, 0.0, 0.01]),
        truncate_share=rnd.choice([0.0, 0.0, 0.0, 0.01]),
    )
