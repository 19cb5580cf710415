"""Budgets of a relay as configuration words: `2000 mails/day`, `14 mails/s`, `10000 recipients/day calendar Europe/Berlin`.

A rolling budget (the default) holds for every span of that length, as providers count "24 hours"; a calendar one begins anew with
each hour or day of its time zone.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import Enum

from postlane.core.limits.microseconds import MICRO

FindZone = Callable[[str], tzinfo]

COUNT_MAX = 10**9  # more a day than any relay takes; keeps a slip of the keyboard from meaning "no limit"

_EXAMPLES = "write it like `2000 mails/day`, `14 mails/s` or `10000 recipients/day calendar Europe/Berlin`"
_WORDS = re.compile(r"(?P<count>\S+)\s+(?P<unit>\w+)\s*/\s*(?P<period>\w+)(?P<rest>\s+.*)?", re.DOTALL)


class Unit(Enum):
    """What a budget counts."""

    MAILS = "mails"
    RECIPIENTS = "recipients"

    def of(self, recipients: int) -> int:
        """What a mail to so many recipients costs."""
        return 1 if self is Unit.MAILS else recipients


class Period(Enum):
    """The span that a budget is for; the value is what people write."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def us(self) -> int:
        """Its length in microseconds; a calendar day may be an hour shorter or longer."""
        return {"second": 1, "minute": 60, "hour": 3600, "day": 86400}[self.value] * MICRO


class BadBudget(ValueError):
    """A budget that cannot be read; the text names the words, what is wrong with them and an example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most `count` units in any `period`, or in each calendar one where a `zone` is given."""

    count: int
    unit: Unit
    period: Period
    zone: tzinfo | None = None

    @property
    def key(self) -> str:
        """What is counted, without how much of it: the count may be changed and what is used stays used."""
        return f"{self.unit.value}/{self.period.value}" + (
            "" if self.zone is None else f" calendar {self.zone}"
        )

    def __str__(self) -> str:
        return f"{self.count} {self.key}"


_UNITS = {
    "mail": Unit.MAILS,
    "mails": Unit.MAILS,
    "recipient": Unit.RECIPIENTS,
    "recipients": Unit.RECIPIENTS,
}
_PERIODS = {
    "s": Period.SECOND,
    "sec": Period.SECOND,
    "second": Period.SECOND,
    "m": Period.MINUTE,
    "min": Period.MINUTE,
    "minute": Period.MINUTE,
    "h": Period.HOUR,
    "hour": Period.HOUR,
    "d": Period.DAY,
    "day": Period.DAY,
}


def parse_budget(words: str, find_zone: FindZone) -> Budget:
    """Read a budget; `find_zone` gives the time zone of a name and raises LookupError or ValueError. Raises BadBudget."""
    match = _WORDS.fullmatch(words.strip())
    if match is None:
        raise _bad(words, "a budget is a count, a unit, a slash and a period")
    unit, period = _UNITS.get(match["unit"].lower()), _PERIODS.get(match["period"].lower())
    if unit is None:
        raise _bad(words, f"{match['unit']!r} is not what is counted: mails or recipients")
    if period is None:
        raise _bad(words, f"{match['period']!r} is not a period: s, min, hour or day")
    zone = _zone(words, (match["rest"] or "").split(), period, find_zone)
    return Budget(count=_count(words, match["count"]), unit=unit, period=period, zone=zone)


def parse_budgets(lines: Iterable[str], find_zone: FindZone) -> tuple[Budget, ...]:
    """Read all budgets of a relay. Raises BadBudget, also for two that count the same."""
    budgets: dict[str, Budget] = {}
    for line in lines:
        budget = parse_budget(line, find_zone)
        if budget.key in budgets:
            raise BadBudget(
                f"budgets {str(budgets[budget.key])!r} and {line!r} count the same; keep one of them"
            )
        budgets[budget.key] = budget
    return tuple(budgets.values())


def _count(words: str, digits: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", digits) or not 1 <= int(digits) <= COUNT_MAX:
        raise _bad(words, f"{digits!r} is not a whole number from 1 to {COUNT_MAX}")
    return int(digits)


def _zone(words: str, rest: list[str], period: Period, find_zone: FindZone) -> tzinfo | None:
    if not rest or rest == ["rolling"]:
        return None
    if rest[0] != "calendar" or len(rest) > 2:
        raise _bad(words, f"{' '.join(rest)!r} is neither `rolling` nor `calendar` with a time zone")
    if len(rest) == 1:
        raise _bad(words, "a calendar budget needs the time zone whose hours or days the relay counts")
    if period not in {Period.HOUR, Period.DAY}:
        raise _bad(words, f"calendar budgets are for an hour or a day, not for a {period.value}")
    if rest[1] == "UTC":
        return UTC
    try:
        return find_zone(rest[1])
    except (LookupError, ValueError):
        raise _bad(words, f"the time zone {rest[1]!r} is not known here") from None


def _bad(words: str, fault: str) -> BadBudget:
    return BadBudget(f"budget {words!r}: {fault}; {_EXAMPLES}")
