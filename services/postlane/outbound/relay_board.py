"""All relays of a sender by their routes: which takes a route's next mail, and which routes take nothing."""

import time
from collections.abc import Mapping
from math import inf

from postlane.core.control.standing import Pause
from postlane.core.limits.permission import Busy, Hold, Permission, Soon, Start, TooLarge, Wait
from postlane.core.routing.routes import Route
from postlane.core.routing.turns import Readiness, RelayTurns
from postlane.core.sending.lane_mail import Attempt
from postlane.outbound.relay_desk import Errand, RelayDesk, addressees
from postlane.ports import Clock

READINESS: dict[type[Permission], Readiness] = {
    Start: Readiness.OPEN,
    TooLarge: Readiness.OPEN,  # for a part of its recipients
    Busy: Readiness.BUSY,
    Soon: Readiness.BUSY,
    Wait: Readiness.HELD,
}


class RelayBoard:
    """`desks` by relay name; every relay of a route has one. `started` counts the mails that it let start."""

    def __init__(
        self, desks: Mapping[str, RelayDesk], routes: tuple[Route, ...], clock: Clock = time.time
    ) -> None:
        self.desks = dict(desks)
        self.routes = {route.name: route for route in routes}
        self._clock = clock
        self._turns = RelayTurns()
        self._wanted: dict[str, int] = {}
        self._senders_due = False
        self.started = 0

    def pause_changed(self, relay: str, pause: Pause | None) -> None:
        """A person has stopped this relay, or lets it go on; one that is not configured here concerns others."""
        desk = self.desks.get(relay)
        if desk is None:
            return
        if pause is None:
            desk.governor.resume()
        else:
            desk.governor.pause(f"paused by {pause.by}: {pause.reason}", pause.until, pause.since)

    def flowing(self, relay: str) -> bool:
        """Whether mail is in flight that this relay could have taken, for all that its routes say and this sender itself."""
        if self.desks[relay].governor.stopped_here(self._clock()) is not None:
            return False
        others = {other for route in self.routes.values() if relay in route.relays for other in route.relays}
        return any(self.desks[other].governor.in_flight for other in others)

    def is_cut_off(self, relay: str) -> bool:
        """Whether our own circuit to this relay is open, whatever holds for other senders."""
        desk = self.desks.get(relay)
        return desk is not None and desk.governor.circuit.trip is not None

    def resumed(self, relay: str, now: float) -> None:
        """A person wants this relay, and the senders that it refused, to be tried again at once."""
        desk = self.desks.get(relay)
        if desk is not None and desk.probe_now(now):
            self._senders_due = True

    def take_senders_due(self) -> bool:
        """Whether mail that waits for its sender is due since this was asked last."""
        due, self._senders_due = self._senders_due, False
        return due

    @property
    def in_flight(self) -> int:
        """The attempts of all partitions."""
        return sum(desk.governor.in_flight for desk in self.desks.values())

    def free_slots(self, route: str, now: float) -> int:
        """How many mails of this route may start now, to one recipient each; a mail that found too little room is waited for."""
        wanted = self._wanted.get(route, 1)
        for tier in self.routes[route].tiers:
            ready = {relay: self._readiness(relay, wanted, now) for relay, _ in tier}
            if Readiness.OPEN in ready.values():
                self._wanted.pop(route, None)
                return sum(
                    self.desks[r].free_slots(now) for r, state in ready.items() if state is Readiness.OPEN
                )
            if Readiness.BUSY in ready.values():
                return 0
        return 0

    def begin(self, attempt: Attempt, now: float) -> Errand | None:
        """Start the mail at the relay whose turn it is; None where it has more recipients than what is left of all budgets, or a lease has just ended."""
        route, (_, recipients) = self.routes[attempt.route], addressees(attempt)
        ready = {relay: self._readiness(relay, len(recipients), now) for relay in route.relays}
        relay = self._turns.choose(route, ready)
        if relay is None:
            self._wanted[attempt.route] = len(recipients)  # else small ones would pass it for ever
            return None
        errand = self.desks[relay].begin(attempt, now)
        self.started += errand is not None
        return errand

    def route_hold(self, route: str, now: float) -> Hold | None:
        """The hold that ends first, where all of a route's relays are held."""
        holds = [self.desks[relay].governor.hold(now) for relay in self.routes[route].relays]
        standing = [hold for hold in holds if hold is not None]
        if len(standing) < len(holds):
            return None
        return min(standing, key=lambda hold: inf if hold.until is None else hold.until, default=None)

    def next_start(self, now: float) -> float | None:
        """When a relay whose starts are being spread takes the next mail."""
        spread = [desk.governor.may_start(1, now) for desk in self.desks.values()]
        return min((permission.until for permission in spread if isinstance(permission, Soon)), default=None)

    def _readiness(self, relay: str, recipients: int, now: float) -> Readiness:
        return READINESS[type(self.desks[relay].permission(recipients, now))]
