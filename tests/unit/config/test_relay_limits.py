"""A relay's limits in the configuration are what its governor keeps to."""

from datetime import UTC, date, datetime

from postlane.config.relay_section import RelaySection
from postlane.core.limits.circuit import CircuitPolicy
from postlane.core.limits.governor import Governor, GovernorPolicy


def test_budgets_and_ramp_become_limits() -> None:
    section = RelaySection(
        host="relay",
        budgets=("2000 mails/day", "10000 recipients/day calendar Europe/Berlin"),
        warm_up="50, then unlimited",
        warm_up_since=date(2026, 1, 31),
    )
    policy = GovernorPolicy(connections=3, circuit=CircuitPolicy(hold_seconds=1, hold_seconds_max=1))
    now = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
    assert Governor("main", policy, section.limits()).usage(now) == (
        "2000 mails/day: 0 used in the last day",
        "10000 recipients/day calendar Europe/Berlin: 0 of 10000 used in this day",
        "warm-up since 2026-01-31: 0 of 50 used in this day",
    )


def test_without_limits_there_is_nothing_to_keep_to() -> None:
    assert RelaySection(host="relay").limits() == ()
