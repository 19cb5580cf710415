"""The ramp of a new relay: `50, 100, 200, 500, 1000*2, then unlimited` mails a day.

Receivers distrust an address that sends much from its first day. The ramp is one more daily budget, which grows.
"""

import re
from dataclasses import dataclass
from datetime import date, tzinfo

from postlane.core.limits.budgets import COUNT_MAX, Period, Unit
from postlane.core.limits.calendar_ledger import Calendar, CalendarLedger, Caps

CAUSE_WARM_UP = "warm_up"
DAYS_MAX = 366  # a longer ramp is a slip of the keyboard

_STEP = re.compile(r"(?P<count>[0-9]{1,10})(?:\*(?P<days>[0-9]{1,4}))?")
_END = re.compile(r"then\s+(?P<then>unlimited|[0-9]{1,10})")
_EXAMPLE = "write it like `50, 100, 200, 500, 1000*2, then unlimited`"


class BadWarmUp(ValueError):
    """A ramp that cannot be read; the text names the step and an example."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Mails a day, from the first day on; afterwards `then` a day, None = no limit."""

    steps: tuple[int, ...]
    then: int | None


def parse_warm_up(words: str) -> WarmUp:
    """Read a ramp. Raises BadWarmUp."""
    *days, end = (part.strip() for part in words.split(","))
    match = _END.fullmatch(end)
    if match is None or not days:
        raise _bad(
            words, f"it ends with {end!r}; say what comes after it, `then unlimited` or such as `then 5000`"
        )
    steps: list[int] = []
    for part in days:
        step = _STEP.fullmatch(part)
        if step is None or not 1 <= int(step["count"]) <= COUNT_MAX or int(step["days"] or 1) < 1:
            raise _bad(words, f"{part!r} is not a count of mails from 1 to {COUNT_MAX}, or count*days")
        if len(steps) + int(step["days"] or 1) > DAYS_MAX:
            raise _bad(words, f"it takes more than {DAYS_MAX} days")
        steps += [int(step["count"])] * int(step["days"] or 1)
    then = None if match["then"] == "unlimited" else int(match["then"])
    if then is not None and not 1 <= then <= COUNT_MAX:
        raise _bad(words, f"{end!r} names no count from 1 to {COUNT_MAX}")
    return WarmUp(tuple(steps), then)


def warm_up_ledger(ramp: WarmUp, since: date, zone: tzinfo) -> CalendarLedger:
    """The ramp as a limit; days are those of `zone`, and days before `since` count as the first."""
    calendar = Calendar(
        key="warm_up",
        unit=Unit.MAILS,
        period=Period.DAY,
        zone=zone,
        cause=CAUSE_WARM_UP,
        words=f"warm-up since {since}",
    )
    return CalendarLedger(calendar, Caps(ramp.then, ramp.steps, since))


def _bad(words: str, fault: str) -> BadWarmUp:
    return BadWarmUp(f"warm_up {words!r}: {fault}; {_EXAMPLE}")
