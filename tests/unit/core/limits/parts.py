"""What the tests of limits build on."""

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from postlane.core.limits.budgets import Budget, parse_budget
from postlane.core.limits.circuit import CircuitPolicy, Refusal
from postlane.core.limits.governor import Governor, GovernorPolicy
from postlane.core.limits.limit import Limit
from postlane.core.limits.local_limits import local_limits
from postlane.core.limits.microseconds import to_us

BERLIN = ZoneInfo("Europe/Berlin")
NOW = 1_780_000_000.0  # 2026-05-28T20:26:40Z
NOW_US = to_us(NOW)
SPRING = date(2026, 3, 29)  # Berlin's clocks go from 2:00 to 3:00
AUTUMN = date(2026, 10, 25)  # and from 3:00 to 2:00
CIRCUIT = CircuitPolicy(hold_seconds=100.0, hold_seconds_max=300.0, jitter_share=0.0)


def budget(words: str) -> Budget:
    return parse_budget(words, ZoneInfo)


def limits(*words: str) -> tuple[Limit, ...]:
    return local_limits(budget(line) for line in words)


def governor(*words: str, connections: int = 4, more: Sequence[Limit] = ()) -> Governor:
    policy = GovernorPolicy(connections=connections, circuit=CIRCUIT)
    return Governor("main", policy, (*limits(*words), *more))


def refusal(cause: str = "quota", wait_seconds: float | None = None, jitter: float = 0.0) -> Refusal:
    return Refusal(cause=cause, reason=f"relay main: {cause}", wait_seconds=wait_seconds, jitter=jitter)


def berlin_us(text: str, fold: int = 0) -> int:
    """A wall-clock time in Berlin, such as 2026-03-29T12:00."""
    return to_us(datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp())
