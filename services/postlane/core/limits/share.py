"""The seam between a relay's governor and those who share the relay with it: what a lease allows, and who probes.

Without a share a governor rules alone (core.limits.circuit, local_limits). With one, connections come from the lease, and the circuit is
the fleet's: whoever is refused holds all, and one of all probes.
"""

from typing import Protocol

from postlane.core.limits.circuit import CircuitState, Refusal, Trip
from postlane.core.limits.permission import Ending, Hold, Ticket


class Breaker(Protocol):
    """Whether a relay takes mail at all; core.limits.circuit.Circuit is the one of a governor that rules alone."""

    @property
    def state(self) -> CircuitState:
        """As of the last question."""
        ...

    @property
    def trip(self) -> Trip | None:
        """Why the relay is held, until a probe was answered."""
        ...

    @property
    def round(self) -> int:
        """Counts holds: what a mail of an earlier round hears says nothing about now."""
        ...

    def at(self, now: float) -> CircuitState:
        """The state at this time."""
        ...

    def refused(self, refusal: Refusal, round_: int, now: float) -> bool:
        """The relay refused a mail of that round; True when a hold begins by it."""
        ...

    def answered(self, round_: int) -> bool:
        """The relay judged a mail of that round on its merits; True when that ends a hold."""
        ...


class Share(Protocol):
    """One sender's part of a relay. A mail that has started is ended exactly once."""

    @property
    def breaker(self) -> Breaker:
        """The circuit of all who share the relay."""
        ...

    def connections(self) -> int:
        """How many mails may be in flight now."""
        ...

    def absence(self, now: float) -> Hold | None:
        """That nothing was granted for so long that people should hear of it."""
        ...

    def crowded(self) -> None:
        """A mail found no free connection."""
        ...

    def started(self, ticket: Ticket) -> None:
        """A mail starts; the governor has just allowed it."""
        ...

    def ended(self, ticket: Ticket, ending: Ending) -> None:
        """It has come back."""
        ...
