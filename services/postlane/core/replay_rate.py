"""How fast dead mail is sent again: a rate as people write it, and when the next batch may go.

New mail of the same partitions goes in between, so a replay of thousands must not stand in front of it all at once. No credit is saved up:
after Kafka was away, or the machine slept, the replay goes on at its rate and does not catch up.
"""

from dataclasses import dataclass
from datetime import UTC

from postlane.core.dlq import BATCH_MAILS_MAX
from postlane.core.limits.budgets import BadBudget, parse_budget
from postlane.core.limits.microseconds import MICRO


@dataclass(frozen=True, slots=True)
class ReplayRate:
    """`mails` in `seconds`, evenly spread."""

    mails: int
    seconds: float

    @property
    def batch_mails(self) -> int:
        """How many go in one transaction: what is due in a second, so that they come evenly."""
        return max(1, min(BATCH_MAILS_MAX, int(self.mails / self.seconds)))

    def seconds_for(self, mails: int) -> float:
        """How long so many take."""
        return mails * self.seconds / self.mails


def parse_rate(text: str) -> ReplayRate:
    """Read `300/min`, `5/s` or `1000/hour`. Raises ValueError."""
    count, slash, period = (part.strip() for part in text.partition("/"))
    try:
        budget = parse_budget(f"{count} mails/{period}", lambda _name: UTC)
    except BadBudget:
        budget = None
    if budget is None or not slash or budget.zone is not None:
        raise ValueError(f"{text!r} is not a rate such as 300/min, 5/s or 1000/hour")
    return ReplayRate(budget.count, budget.period.us / MICRO)


class ReplayClock:
    """When the next batch may be written; times are seconds of any clock that does not go back."""

    def __init__(self, rate: ReplayRate) -> None:
        self._rate = rate
        self._free_at = float("-inf")

    def wait_seconds(self, now: float) -> float:
        """For how long the next batch has to wait."""
        return max(0.0, self._free_at - now)

    def written(self, mails: int, now: float) -> None:
        """So many have just been written."""
        self._free_at = max(self._free_at, now) + self._rate.seconds_for(mails)
