"""The seam between a relay's governor and those who share the relay with it: what the lease allows, and what holds all of them.

Without a share a governor rules alone. With one, connections come from the lease, and what the relay says about the account holds all
senders, until one of all probes. What happens to one sender's host, network or session is its own circuit's business: were every
"421 try again" to stop all, one host with a bad network could.
"""

from dataclasses import dataclass
from typing import Protocol

from postlane.core.limits.circuit import Trip
from postlane.core.limits.permission import Ending, Hold, Ticket

CAUSES_OF_ALL = frozenset({"quota", "rate", "throttled", "auth"})
"""What is said of the account, not of who connects."""
CAUSE_NO_LEASE = "no_lease"


@dataclass(frozen=True, slots=True)
class Slowness:
    """Mail that could go has been waiting `since`; `lack` is why no connection is granted, empty where one is."""

    since: float
    lack: str


class Share(Protocol):
    """One sender's part of a relay. A mail that has started is ended exactly once."""

    @property
    def round(self) -> int:
        """Counts the holds that began."""
        ...

    def connections(self) -> int:
        """How many mails may be in flight now; to be asked first, what follows is as of then."""
        ...

    def trip(self) -> Trip | None:
        """Why all senders wait, until a probe was answered."""
        ...

    def may_probe(self) -> bool:
        """Whether the one mail that tries the relay again is ours to start."""
        ...

    def absence(self, now: float) -> Hold | None:
        """That mail has waited for a grant for so long that people should hear of it."""
        ...

    def slowness(self, now: float) -> Slowness | None:
        """That mail which could go has been waiting for so long that people should hear why."""
        ...

    def started(self, ticket: Ticket) -> None:
        """A mail starts; the governor has just allowed it."""
        ...

    def ended(self, ticket: Ticket, ending: Ending) -> None:
        """It has come back."""
        ...
