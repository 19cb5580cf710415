"""The units that a holder has: each parcel until its last moment to start a mail, on the holder's own monotonic clock."""

from collections.abc import Mapping
from dataclasses import dataclass

from postlane.core.events.relay_lease import Returned

RETURN_LEASES = 3  # after so many leases the allocator has forgotten the grant anyhow


@dataclass(slots=True)
class Pile:
    """What is left of one grant's units of a budget; nothing may be started with them from `start_until` on."""

    grant: int
    budget: str
    units: int
    start_until: float


@dataclass(frozen=True, slots=True)
class Draw:
    """Units taken out of a pile."""

    grant: int
    budget: str
    units: int


@dataclass(slots=True)
class _Return:
    units: int
    since: float
    told: int | None = None  # the first request that says so


class Purse:
    """A unit is spent, or returned, or expires and is returned then: never two of these."""

    def __init__(self) -> None:
        self._piles: list[Pile] = []
        self._returns: dict[tuple[int, str], _Return] = {}

    def put(self, pile: Pile) -> None:
        """A grant brought units."""
        self._piles.append(pile)

    def has(self, budget: str, until: float) -> int:
        """How many units can still be spent at `until`."""
        return sum(pile.units for pile in self._piles if pile.budget == budget and pile.start_until > until)

    def take(self, costs: Mapping[str, int], now: float) -> tuple[Draw, ...] | None:
        """Take the units of a mail out, those first that expire first; None, and nothing taken, where a budget has too few."""
        if any(self.has(budget, now) < units for budget, units in costs.items()):
            return None
        draws: list[Draw] = []
        for pile in sorted(self._piles, key=lambda pile: pile.start_until):
            units = min(pile.units, costs.get(pile.budget, 0) - _drawn(draws, pile.budget))
            if units > 0 and pile.start_until > now:
                pile.units -= units
                draws.append(Draw(pile.grant, pile.budget, units))
        return tuple(draws)

    def put_back(self, draws: tuple[Draw, ...], now: float) -> None:
        """The relay has not seen the mail after all. Units of a pile that is gone go back to the allocator."""
        for draw in draws:
            for pile in self._piles:
                if (pile.grant, pile.budget) == (draw.grant, draw.budget):
                    pile.units += draw.units
                    break
            else:
                self._give_back(draw.grant, draw.budget, draw.units, now)

    def tidy(self, wants: Mapping[str, int], now: float) -> None:
        """Return what has expired and what is more than is wanted, first what would expire first."""
        for pile in self._piles:
            if pile.start_until <= now:
                self._return_from(pile, pile.units, now)
        for budget in {pile.budget for pile in self._piles}:
            surplus = self.has(budget, now) - wants.get(budget, 0)
            for pile in sorted(self._piles, key=lambda pile: pile.start_until):
                if pile.budget == budget and surplus > 0:
                    units = min(surplus, pile.units)
                    surplus -= units
                    self._return_from(pile, units, now)
        self._piles = [pile for pile in self._piles if pile.start_until > now]

    def returned(self, request: int) -> tuple[Returned, ...]:
        """What a request with this number has to say about returns."""
        for owed in self._returns.values():
            owed.told = request if owed.told is None else owed.told
        return tuple(
            Returned(grant=grant, budget=budget, units=owed.units)
            for (grant, budget), owed in self._returns.items()
        )

    def owes(self) -> bool:
        """Whether there are returns of which no request has told yet."""
        return any(owed.told is None for owed in self._returns.values())

    def heard(self, request: int, now: float, lease_seconds: float) -> None:
        """The allocator has read this request. A total that may still grow is kept: the next return adds to it."""
        open_grants = {(pile.grant, pile.budget) for pile in self._piles}
        self._returns = {
            key: owed
            for key, owed in self._returns.items()
            if key in open_grants
            or owed.told is None
            or (owed.told > request and now < owed.since + RETURN_LEASES * lease_seconds)
        }

    def _return_from(self, pile: Pile, units: int, now: float) -> None:
        if units > 0:
            pile.units -= units
            self._give_back(pile.grant, pile.budget, units, now)

    def _give_back(self, grant: int, budget: str, units: int, now: float) -> None:
        owed = self._returns.setdefault((grant, budget), _Return(0, now))
        owed.units, owed.since, owed.told = owed.units + units, now, None


def _drawn(draws: list[Draw], budget: str) -> int:
    return sum(draw.units for draw in draws if draw.budget == budget)
