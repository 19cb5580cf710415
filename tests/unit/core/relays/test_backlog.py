"""What waits for the relays of a route, and how soon it could be through."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from postlane.core.events.status import Origin
from postlane.core.events.trail import Put
from postlane.core.limits.budgets import parse_budgets
from postlane.core.limits.circuit import CircuitPolicy
from postlane.core.limits.governor import Governor, GovernorPolicy
from postlane.core.limits.local_limits import local_limits
from postlane.core.limits.permission import Never
from postlane.core.relays.backlog import Parked, Unread, Waiting, seconds_through, waiting_by_route
from postlane.core.relays.relay_state import RelayState, RelayView

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
ROUTES = ["bulk", "default"]


def parked(ticket: str = "T-1", route: str | None = "default", due: float = -1, **changes: object) -> Parked:
    fields: dict[str, object] = {
        "origin": Origin("topic-1", 1),
        "attempt": 1,
        "first_seen_ms": 0,
        "due_ms": round((NOW.timestamp() + due) * 1000),
        "remaining": None,
        "held": 0,
        "cause": "window_full",
        "reason": "",
        "route": route,
    }
    return Parked((0, ticket), Put(**(fields | changes)))  # type: ignore[arg-type]


def waiting(*mails: Parked, unread: tuple[Unread, ...] = (), more: int = 0) -> dict[str, Waiting]:
    return waiting_by_route(unread, more, mails, ROUTES, NOW)


@pytest.mark.parametrize(
    ("mails", "expected"),
    [
        ([], Waiting()),
        ([parked()], Waiting(parked=1)),
        ([parked(due=0)], Waiting(parked=1)),
        ([parked(due=1)], Waiting(later=1)),
        ([parked(route=None)], Waiting(parked=1)),
        ([parked(route="of old")], Waiting(parked=1)),
        ([parked(remaining=("a@b.test", "c@d.test"))], Waiting(parked=1, recipients=2, counted=1)),
        ([parked(held=1)], Waiting(for_person=1)),
        ([parked(cause="ticket_held")], Waiting(for_person=1)),
        ([parked("T-1", held=1), parked("T-1"), parked("T-2")], Waiting(for_person=2, parked=1)),
    ],
)
def test_mail_of_the_journal_waits_for_its_relay_its_time_or_a_person(
    mails: list[Parked], expected: Waiting
) -> None:
    assert waiting(*mails) == {"bulk": Waiting(), "default": expected}


def test_routes_are_kept_apart() -> None:
    found = waiting(parked(route="bulk"), unread=(Unread("bulk", 3), Unread("default", 1)))
    assert found["bulk"] == Waiting(unread=1, parked=1, recipients=3, counted=1)
    assert (found["bulk"].ready, found["bulk"].mean_recipients) == (2, 3.0)
    assert found["default"] == Waiting(unread=1, recipients=1, counted=1)


@pytest.mark.parametrize(
    ("seen", "more", "expected"),
    [([], 7, (0, 7)), (["bulk"], 7, (8, 0)), (["bulk", "bulk", "default"], 10, (8, 5))],
)
def test_what_was_not_looked_at_is_shared_out_as_the_rest(
    seen: list[str], more: int, expected: tuple[int, int]
) -> None:
    found = waiting(unread=tuple(Unread(route, 1) for route in seen), more=more)
    assert (found["bulk"].unread, found["default"].unread) == expected


def governor(*budgets: str) -> Governor:
    policy = GovernorPolicy(connections=4, circuit=CircuitPolicy(hold_seconds=300.0, hold_seconds_max=3600.0))
    return Governor("main", policy, local_limits(parse_budgets(budgets, ZoneInfo)))


def through(
    state: RelayState, *budgets: str, until: float | None = None, mails: int = 250, by: str | None = None
) -> float | Never | None:
    end = None if until is None else NOW + timedelta(seconds=until)
    view = RelayView(relay="main", state=state, until=end, by=by)
    return seconds_through(governor(*budgets), view, Waiting(unread=mails), NOW)


def test_without_budgets_only_the_hold_bounds_it() -> None:
    assert through(RelayState.SENDS) is None
    assert through(RelayState.HELD, until=300) == 300
    assert through(RelayState.DUE, until=-300) is None


def test_budgets_bound_it_from_the_end_of_the_hold_on() -> None:
    free, after = (
        through(RelayState.SENDS, "100 mails/hour"),
        through(RelayState.HELD, "100 mails/hour", until=600),
    )
    assert isinstance(free, float)
    assert isinstance(after, float)
    assert 7200 <= free <= 7400
    assert free + 600 - 120 <= after <= free + 600 + 120  # buckets are a minute wide


def test_nothing_is_foretold_of_what_a_person_decides() -> None:
    paused = through(RelayState.PAUSED, by="kim@desk")
    assert paused == Never("relay main is paused until somebody resumes it")
    assert through(RelayState.HELD) == Never("relay main is held without a known end")
    assert through(RelayState.PAUSED, until=60, by="kim@desk") == 60
