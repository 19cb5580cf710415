"""What a relay sets limits with, all from the seed: spells of quota, throttling, broken logins and refused connections; and the senders' budgets.

A spell begins after so many acceptances, and its time runs from the first thing that it turns away, so that a slow machine meets it, too.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from chaos.acceptances import Acceptance
from chaos.schedule import SENDERS, SMALL_RUN_MAILS, Kind, counts

MAIN, SPARE = "main", "spare"
USERNAME, PASSWORD = "chaos", "a password for tests only"
BUDGETS_SHARED = True  # True = a budget holds for all senders together, False = for each by itself
MAIN_SHARE = 0.5  # of the mails fits into the budgets of the first relay; the rest overflows to the next
SPARE_MAILS_PER_MINUTE = 6000 if BUDGETS_SHARED else 1500  # what this one holds up goes nowhere else
MAILS_PER_SECOND_MAX = 5  # while a relay throttles by rate
CONNECTIONS_MAX = 2  # while it throttles by connections
OUTAGE_EVERY_MAILS = 2500
PERIODS = {60.0: "min", 3600.0: "hour"}
SPELLS_FROM_SHARE, SPELLS_TO_SHARE = 0.05, 0.9


class LimitKind(StrEnum):
    """What turns mail away that is not to blame."""

    QUOTA = "quota"  # at every MAIL
    RATE = "rate"  # at MAIL
    RATE_LATE = "rate_late"  # at the final dot, as SES does
    CONNECTIONS = "connections"
    AUTH = "auth"
    REFUSED = "refused"  # nobody listens


REPLIES = {
    LimitKind.QUOTA: b"550 5.4.5 Daily user sending limit exceeded",
    LimitKind.RATE: b"454 Throttling failure: Maximum sending rate exceeded. Try again in 1 second",
    LimitKind.RATE_LATE: b"454 Throttling failure: Maximum sending rate exceeded. Try again in 1 second",
    LimitKind.CONNECTIONS: b"421 4.7.0 Try again later",
    LimitKind.AUTH: b"535 5.7.8 Authentication credentials invalid",
}
NOT_LOGGED_IN = b"530 5.7.0 Authentication required"


@dataclass(frozen=True, slots=True)
class Spell:
    """From `after_mails` acceptances on all relays, or the one that took the last of these, set this limit, for so long."""

    kind: LimitKind
    everywhere: bool
    after_mails: int
    seconds: float


def plan_spells(seed: int, mails: int, *, limits: bool) -> list[Spell]:
    """In their order; without `limits` the relay merely goes down now and then."""
    if not limits:
        rnd = random.Random(f"{seed}:outages")
        return [
            Spell(
                LimitKind.REFUSED,
                True,
                start + rnd.randrange(OUTAGE_EVERY_MAILS),
                rnd.uniform(0.3, 2.0),
            )
            for start in range(0, mails, OUTAGE_EVERY_MAILS)
        ]
    rnd = random.Random(f"{seed}:spells")
    kinds: list[LimitKind] = []
    for _ in range(max(1, round(mails / SMALL_RUN_MAILS))):
        kinds += rnd.sample(list(LimitKind), len(LimitKind))
    width = (SPELLS_TO_SHARE - SPELLS_FROM_SHARE) * mails / len(kinds)
    first = rnd.randrange(2)  # every other spell is everywhere: then nothing goes out
    return [
        Spell(
            kind,
            (index + first) % 2 == 0,
            round(SPELLS_FROM_SHARE * mails + width * (index + rnd.uniform(0.0, 0.5))),
            rnd.uniform(0.5, 2.5),
        )
        for index, kind in enumerate(kinds)
    ]


@dataclass(frozen=True, slots=True)
class Budget:
    """What the senders may give a relay in any so many seconds."""

    relay: str
    mails: int
    seconds: float

    @property
    def words(self) -> str:
        """As the configuration says it."""
        return f"{self.mails} mails/{PERIODS[self.seconds]}"


def plan_budgets(mails: int) -> tuple[Budget, ...]:
    """A run is shorter than an hour, so a sender that has used the first relay's budget up goes to the next one for the rest of its life."""
    planned = counts(mails)
    holders = 1 if BUDGETS_SHARED else SENDERS + planned[Kind.KILL] + planned[Kind.JOIN]
    return (
        Budget(MAIN, max(1, round(mails * MAIN_SHARE / holders)), 3600.0),
        Budget(SPARE, SPARE_MAILS_PER_MINUTE, 60.0),
    )


def most_in_window(budget: Budget, acceptances: Sequence[Acceptance]) -> dict[str, int]:
    """By holder of the budget, the most that its relay took from it within any window of the budget's length."""
    most: Counter[str] = Counter()
    times: dict[str, list[float]] = {}
    for acceptance in sorted(acceptances, key=lambda it: it.at):
        if acceptance.relay == budget.relay:
            times.setdefault("all" if BUDGETS_SHARED else acceptance.sender, []).append(acceptance.at)
    for holder, taken in times.items():
        first = 0
        for last, at in enumerate(taken):
            while at - taken[first] >= budget.seconds:
                first += 1
            most[holder] = max(most[holder], last - first + 1)
    return dict(most)
