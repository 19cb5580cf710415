"""The seam between the governor and whoever keeps count: ledgers of this process now, an allowance on lease later.

A unit is *reserved* when its mail starts, *settled* when its mail has come back, and *given back* when nothing of it left this
process. When exactly the relay counts a mail, between start and end, only the relay knows. So a reserved unit counts against every
window, and a settled one from its end: then the sum that the relay sees is never more than was allowed, however long a mail takes.
"""

from typing import Protocol

from postlane.core.limits.budgets import Unit

CAUSE_QUOTA = "quota"
CAUSE_RATE = "rate"

Plain = dict[str, object]
"""Numbers, texts and lists of them: what JSON can say."""


class Limit(Protocol):
    """One bound on what a relay may be given. Times are microseconds since 1970."""

    @property
    def key(self) -> str:
        """Its name among the limits of a relay, also in the exported state."""
        ...

    @property
    def words(self) -> str:
        """The limit itself, as a person wrote it."""
        ...

    @property
    def unit(self) -> Unit:
        """What it counts."""
        ...

    @property
    def cause(self) -> str:
        """The token under which its waits are known."""
        ...

    @property
    def told(self) -> bool:
        """Whether people hear of its waits; those of rates are too short for news."""
        ...

    @property
    def most(self) -> int:
        """What a single mail may cost at the most: one that costs more would wait for ever."""
        ...

    def describe(self, now_us: int) -> str:
        """The limit and how much of it is used, for people."""
        ...

    def earliest(self, units: int, now_us: int) -> int:
        """When so many units (at most `most`) may start, if nothing else happens: `now_us` or later, never too early.

        What is in flight is taken to end now.
        """
        ...

    def reserve(self, units: int, now_us: int) -> None:
        """They start; `earliest` has just allowed them."""
        ...

    def settle(self, units: int, now_us: int) -> None:
        """They are no longer in flight, and used."""
        ...

    def give_back(self, units: int) -> None:
        """They were reserved, and nothing of them left this process."""
        ...

    def through(self, units: int, now_us: int) -> int | None:
        """When the last of so many units could start, one after the other; None where that is beyond all planning."""
        ...

    def export(self) -> Plain:
        """What must survive a restart."""
        ...

    def restore(self, state: Plain, now_us: int) -> None:
        """Take up what another process exported; what was in flight there counts as used now. Raises BadLimitState."""
        ...


class BadLimitState(ValueError):
    """An exported state that cannot be taken up; the text names the part."""


def whole_number(state: Plain, name: str) -> int:
    """A count or a time of an exported state. Raises BadLimitState."""
    value = state.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadLimitState(f"{name} is {value!r}, not a whole number")
    return value


def count(state: Plain, name: str) -> int:
    """A whole number from 0 on. Raises BadLimitState."""
    value = whole_number(state, name)
    if value < 0:
        raise BadLimitState(f"{name} is {value}, below 0")
    return value
