"""Under which terms a relay is shared: what is leased, what is counted, and how long a lease is."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

from postlane.core.sharing.windows import Span, Window

CONNECTIONS = "connections"

# How much faster or slower than real time any clock of ours may run. Real ones are a hundred times better; a virtual
# machine under a bad hypervisor is not always.
DRIFT = 0.02

# A lease runs from the holder's request on the holder's clock. Whoever gives it away again counts from a later moment, and this much longer.
FREE_FACTOR = (1 + DRIFT) / (1 - DRIFT)

# The units that one holder may have in hand, as a share of the budget: a holder that dies takes them with it.
PARCEL_SHARE = 1 / 20
PARCEL_MIN = 20  # a mail to a few people is not sent in parts because a budget is small


class BadTerms(ValueError):
    """Terms that cannot work; the text names the relay, the value and what to do."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Something leased: never more than `amount` of it in use at once, over all senders.

    CONNECTIONS is occupied by attempts and open sessions. Any other capacity is a rate: so many units in each `period_seconds`.
    """

    name: str
    amount: int
    period_seconds: float = 0.0

    def turn_seconds(self, lease_seconds: float) -> float:
        """How long somebody keeps what is too little for all: who has a rate anew waits for up to a period before he uses it."""
        return max(lease_seconds, 2 * self.period_seconds)


@dataclass(frozen=True, slots=True)
class Ramp:
    """Lower limits of the first days, from `first_day` on (UTC); days before it count as the first."""

    steps: tuple[int, ...]
    first_day: date


@dataclass(frozen=True, slots=True)
class Budget:
    """Something spent: at most `limit` units in its window, over all senders; a `ramp` is for windows of a day."""

    name: str
    limit: int
    window: Window
    ramp: Ramp | None = None

    def limit_in(self, span: Span) -> int:
        """The limit that holds in this span."""
        if self.ramp is None:
            return self.limit
        day = datetime.fromtimestamp(span.starts, UTC).date()
        index = max(0, (day - self.ramp.first_day).days)
        return self.ramp.steps[index] if index < len(self.ramp.steps) else self.limit

    @property
    def least(self) -> int:
        """The lowest limit that it ever has."""
        return min(self.limit, *self.ramp.steps) if self.ramp is not None else self.limit

    def parcel_max(self, lease_seconds: float, limit: int) -> int:
        """How many units of `limit` one holder may have in hand: of a long window little, of a short one what two leases could use."""
        share = max(PARCEL_SHARE, min(1.0, 2 * lease_seconds / self.window.length_seconds))
        return max(min(limit, PARCEL_MIN), int(limit * share))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """All about sharing one relay. Every sender of a relay must have the same.

    `attempt_seconds_max` is the longest that an attempt may take; it is part of the lease, so nothing starts in a lease's last
    `attempt_seconds_max`. `clock_margin_seconds`: how far the brokers' clocks and the relay's may lie apart; for so long before and after the end of a
    calendar day nothing is sent under its budget.
    """

    relay: str
    capacities: tuple[Capacity, ...]
    budgets: tuple[Budget, ...] = ()
    lease_seconds: float = 120.0
    attempt_seconds_max: float = 40.0
    clock_margin_seconds: float = 5.0
    hold_seconds: float = 60.0
    hold_seconds_max: float = 3600.0

    def __post_init__(self) -> None:
        if not 0 < self.attempt_seconds_max <= self.lease_seconds / 2:
            raise BadTerms(
                f"relay {self.relay}: attempts of up to {self.attempt_seconds_max:g} s do not fit into leases of "
                f"{self.lease_seconds:g} s; a lease must be at least twice as long"
            )
        names = [*(part.name for part in self.capacities), *(part.name for part in self.budgets)]
        if len(set(names)) < len(names):
            raise BadTerms(f"relay {self.relay}: two limits have the same name among {', '.join(names)}")

    @property
    def renew_seconds(self) -> float:
        """How often a holder asks again although nothing has changed; three requests may get lost before the lease ends."""
        return (self.lease_seconds - self.attempt_seconds_max) / 4

    @property
    def eager_seconds(self) -> float:
        """How often a holder asks that got less than it wants, or hears of another that did."""
        return self.renew_seconds / 4

    @property
    def ask_seconds(self) -> float:
        """How soon after a request a holder may ask again when something has changed."""
        return min(1.0, self.lease_seconds / 60)

    @property
    def free_seconds(self) -> float:
        """How long after a decision its lease may still be in use, on the allocator's clock."""
        return self.lease_seconds * FREE_FACTOR

    def hold_for(self, refusals: int, asked_seconds: float | None) -> float:
        """How long to wait after the relay's `refusals`-th refusal in a row; it may have asked for a time itself."""
        own = min(self.hold_seconds * 2.0 ** min(refusals - 1, 30), self.hold_seconds_max)
        return own if asked_seconds is None else max(asked_seconds, own if refusals > 1 else 0.0)


def no_terms(relay: str) -> Terms:
    """For a relay that this process's configuration does not know: its books are kept, nothing of it is granted."""
    return Terms(relay=relay, capacities=())
