"""What a sender tells its side of a shared relay, and what it hears."""

from collections.abc import Mapping
from dataclasses import dataclass

from postlane.core.events.relay_lease import RelayHold
from postlane.core.sharing.allocator import Entry
from postlane.core.sharing.purse import Draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What the sender could use now: of each capacity, and of each budget within one lease. `sessions` are open SMTP sessions, idle ones too."""

    capacities: Mapping[str, int]
    budgets: Mapping[str, int]
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """These committed records of the relay were read, in their order."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave to start one mail."""

    grant: int
    probe: bool
    draws: tuple[Draw, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt is over. `counted` False: the relay surely has not seen the mail, so its units are as good as new.

    `answered`: it was judged on its merits. After a probe that ends the hold.
    """

    leave: Pass
    counted: bool
    answered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An attempt is over, and what the relay said concerns every sender."""

    leave: Pass
    counted: bool
    cause: str
    reason: str
    wait_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The sender stops: everything is over, nothing will be started."""


HolderEvent = Demand | Heard | Ended | Refused | Tick | Leave


@dataclass(frozen=True, slots=True)
class Known:
    """A hold as the sender knows it; `hold` None while only the report of another sender was read."""

    cause: str
    reason: str
    hold: RelayHold | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may start: held, or no room in the lease, or too few units of a budget (`short_of`)."""

    held: Known | None
    short_of: str | None
