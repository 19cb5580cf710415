"""Whose turn it is among the relays of a route."""

from collections.abc import Mapping
from enum import Enum

from postlane.core.routing.routes import Route


class Readiness(Enum):
    """What a relay says to one more mail."""

    OPEN = "open"
    BUSY = "busy"  # full for a moment: its connections or its pace
    HELD = "held"  # nothing for now: a limit, a fault, or a person's pause


class RelayTurns:
    """Smooth weighted round robin within a tier, so that a relay that was held comes back to its share and to no more.

    A later tier sends only while every relay of the earlier ones is held (failover, overflow): that one of them is busy is no reason.
    """

    def __init__(self) -> None:
        self._credit: dict[tuple[str, str], int] = {}

    def choose(self, route: Route, readiness: Mapping[str, Readiness]) -> str | None:
        """The relay that sends the route's next mail; None while it has to wait. It counts as a turn."""
        for tier in route.tiers:
            states = {readiness[relay] for relay, _ in tier}
            if Readiness.OPEN in states:
                return self._turn(route.name, [pair for pair in tier if readiness[pair[0]] is Readiness.OPEN])
            if Readiness.BUSY in states:
                return None
        return None

    def _turn(self, route: str, ready: list[tuple[str, int]]) -> str:
        for relay, weight in ready:
            self._credit[route, relay] = self._credit.get((route, relay), 0) + weight
        chosen = max((relay for relay, _ in ready), key=lambda relay: self._credit[route, relay])
        self._credit[route, chosen] -= sum(weight for _, weight in ready)
        return chosen
