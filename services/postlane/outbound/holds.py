"""Who hears of holds: people of each relay's, partitions of those routes whose relays are all held."""

from collections.abc import Callable, Iterator

import structlog

from postlane.adapters.http_health import Health
from postlane.core.instants import iso_utc
from postlane.core.limits.permission import Hold
from postlane.core.sending.lane_mail import RouteHolds, RouteOpens, SendersDue
from postlane.core.sharing.waits import TOLD_SECONDS
from postlane.outbound.gauges import Gauges
from postlane.outbound.relay_board import RelayBoard
from postlane.outbound.relay_desk import RelayDesk

CAUSE_UNREAD = "control_unread"
UNREAD = "what operators want (mail.control) is not read yet, and nothing starts before; the log of `postlane outbound` says why: control_not_read"
LOOK_AGAIN_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Holds:
    """What was told last, so that each begin, change and end is told once; `knows_wishes`: whether what operators want has been read."""

    def __init__(
        self, relays: RelayBoard, gauges: Gauges, health: Health, knows_wishes: Callable[[], bool]
    ) -> None:
        self._relays = relays
        self._knows_wishes = knows_wishes
        self._ignorant: Hold | None = None
        self._gauges = gauges
        self._health = health
        self._of_relays: dict[str, Hold | None] = {}
        self._of_routes: dict[str, Hold] = {}

    def standing(self) -> list[RouteHolds]:
        """For a partition that is new."""
        return [_event(route, hold) for route, hold in self._of_routes.items()]

    def news(self, now: float) -> Iterator[RouteHolds | RouteOpens | SendersDue]:
        """Tell people what has changed, and say what every partition must hear."""
        for desk in self._relays.desks.values():
            self._tell_people(desk, desk.governor.hold(now))
        ignorant = self._ignorance(now)
        for route in self._relays.routes:
            hold = self._relays.route_hold(route, now) or ignorant
            before = self._of_routes.get(route)
            if hold is not None and hold != before:
                self._of_routes[route] = hold
                yield _event(route, hold)
            elif hold is None and before is not None:
                del self._of_routes[route]
                yield RouteOpens(route)
        if self._relays.take_senders_due():
            yield SendersDue()

    def _ignorance(self, now: float) -> Hold | None:
        """Nothing starts before what operators want has been read; people hear of it where that takes long."""
        before = self._ignorant
        if self._knows_wishes():
            self._ignorant = None
            return None
        if before is None or (before.until is not None and now >= before.until):
            since = now if before is None else before.since
            relay = next(iter(self._relays.desks), "")
            self._ignorant = Hold(
                relay=relay, cause=CAUSE_UNREAD, reason=UNREAD, since=since, until=now + LOOK_AGAIN_SECONDS
            )
        hold = self._ignorant
        return hold if hold is not None and now - hold.since >= TOLD_SECONDS else None

    def _tell_people(self, desk: RelayDesk, hold: Hold | None) -> None:
        before = self._of_relays.get(desk.name)
        if hold == before:
            return
        self._of_relays[desk.name] = hold
        self._gauges.relay(desk.name, hold, before)
        # A held relay is no reason to take the service out of use: it works as it should.
        self._health.set(f"relay:{desk.name}", True, "" if hold is None else _words(hold))
        if hold is None and before is not None:
            log.warning("relay_released", relay=desk.name, cause=before.cause)
        elif hold is not None and (before is None or before.cause != hold.cause):
            log.warning("relay_held", relay=desk.name, cause=hold.cause, reason=_words(hold))


def _words(hold: Hold) -> str:
    until = "until a person resumes it" if hold.until is None else f"until {iso_utc(hold.until)}"
    return f"held {until}: {hold.reason}"


def _event(route: str, hold: Hold) -> RouteHolds:
    return RouteHolds(
        cause=hold.cause,
        reason=hold.reason,
        relay=hold.relay,
        since=hold.since,
        until=hold.until,
        route=route,
    )
