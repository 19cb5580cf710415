"""A governor that shares its relay: what the lease allows, what all hear, what stays its own business."""

import pytest

from postlane.core.limits.circuit import CircuitState, Trip
from postlane.core.limits.governor import Governor, GovernorPolicy
from postlane.core.limits.permission import (
    Answered,
    Busy,
    Ending,
    Hold,
    Soon,
    Start,
    Ticket,
    TurnedAway,
    Unheard,
    Unsent,
    Wait,
)
from postlane.core.limits.share import Slowness
from unit.core.limits.parts import CIRCUIT, NOW, limits, refusal

TRIP = Trip(cause="quota", reason="550 5.4.5", since=NOW - 10, until=NOW + 100)
ABSENT = Hold(relay="main", cause="no_lease", reason="nobody grants", since=NOW - 60, until=None)


class ScriptedShare:
    """Says what a test wants, and keeps what it was told. `last` leaves it as real ones are after a refusal: held."""

    def __init__(self, connections: int = 4) -> None:
        self.round = 0
        self.leased = connections
        self.held: Trip | None = None
        self.probes = False
        self.absent: Hold | None = None
        self.slow: Slowness | None = None
        self.begun: list[Ticket] = []
        self.endings: list[Ending] = []

    def connections(self) -> int:
        return self.leased

    def trip(self) -> Trip | None:
        return self.held

    def may_probe(self) -> bool:
        return self.probes

    def absence(self, now: float) -> Hold | None:
        del now
        return self.absent

    def slowness(self, now: float) -> Slowness | None:
        del now
        return self.slow

    def started(self, ticket: Ticket) -> None:
        self.begun.append(ticket)

    def ended(self, ticket: Ticket, ending: Ending) -> None:
        assert ticket in self.begun
        self.endings.append(ending)
        if isinstance(ending, TurnedAway) and ending.of_all and not self.round:
            self.round += 1


def shared(share: ScriptedShare, *words: str, connections: int = 8) -> Governor:
    policy = GovernorPolicy(connections=connections, circuit=CIRCUIT)
    return Governor("main", policy, limits(*words), share)


def start(relay: Governor, now: float = NOW) -> Ticket:
    assert isinstance(relay.may_start(1, now), Start)
    return relay.started(1, now)


def test_the_lease_bounds_what_is_in_flight_as_it_comes_and_goes() -> None:
    share = ScriptedShare(connections=2)
    relay = shared(share)
    tickets = [start(relay), start(relay)]
    assert relay.may_start(1, NOW) == Busy()
    assert share.begun == tickets
    share.leased = 3
    tickets.append(start(relay))
    share.leased = 0
    assert relay.may_start(1, NOW) == Busy()
    for ticket in tickets:
        relay.ended(ticket, Answered(), NOW)
    assert relay.may_start(1, NOW) == Busy()
    assert share.endings == [Answered()] * 3


def test_the_hold_of_all_senders_holds_until_they_say_otherwise() -> None:
    share = ScriptedShare()
    relay = shared(share)
    share.held = TRIP
    waits = relay.may_start(1, NOW)
    assert isinstance(waits, Wait)
    assert (waits.until, waits.hold.cause) == (TRIP.until, "quota")
    assert isinstance(relay.may_start(1, TRIP.until + 1), Wait), (
        "the time of the probe is the allocator's word"
    )
    assert relay.trip == TRIP
    share.held = None
    assert isinstance(relay.may_start(1, NOW), Start)


def test_who_may_probe_starts_one_mail() -> None:
    share = ScriptedShare()
    relay = shared(share)
    share.held, share.probes, share.leased = TRIP, True, 4
    assert relay.may_start(1, NOW) == Start(probe=True)
    relay.started(1, NOW)
    assert relay.may_start(1, NOW) == Busy()
    share.probes = False
    assert isinstance(relay.may_start(1, NOW), Wait)
    hold = relay.hold(NOW)
    assert hold is not None
    assert hold.cause == "quota"


def test_people_hear_of_a_hold_while_it_is_probed() -> None:
    share = ScriptedShare()
    relay = shared(share)
    share.held, share.probes = TRIP, True
    hold = relay.hold(NOW)
    assert hold is not None
    assert (hold.cause, hold.since) == ("quota", TRIP.since)


def test_without_a_lease_for_long_people_hear_of_it() -> None:
    share = ScriptedShare(connections=0)
    relay = shared(share)
    assert relay.may_start(1, NOW) == Busy()
    share.absent = ABSENT
    assert relay.may_start(1, NOW) == Wait(None, ABSENT)
    assert relay.hold(NOW) == ABSENT


def test_what_the_relay_says_is_all_senders_business() -> None:
    share = ScriptedShare()
    relay = shared(share)
    ticket = start(relay)
    relay.ended(ticket, TurnedAway(refusal("quota"), counted=False, of_all=True), NOW)
    assert relay.circuit.state is CircuitState.OPEN
    assert relay.stopped_here(NOW) is None
    assert len(share.endings) == 1


def test_what_the_network_does_is_ours() -> None:
    share = ScriptedShare()
    relay = shared(share)
    ticket = start(relay)
    relay.ended(ticket, TurnedAway(refusal("connect"), counted=False, of_all=False), NOW)
    hold = relay.stopped_here(NOW)
    assert hold is not None
    assert hold.cause == "connect"
    assert isinstance(relay.may_start(1, NOW), Wait)
    share.held, share.probes = TRIP, True
    assert isinstance(relay.may_start(1, NOW), Wait), "it cannot reach the relay, probe or not"
    after = NOW + CIRCUIT.hold_seconds + 1
    assert relay.stopped_here(after) is None
    assert relay.may_start(1, after) == Start(probe=True)


def test_a_persons_pause_is_named_first_and_ends_by_itself() -> None:
    share = ScriptedShare()
    relay = shared(share)
    share.held = TRIP
    relay.pause("maintenance", NOW + 5, NOW)
    hold = relay.stopped_here(NOW)
    assert hold is not None
    assert hold.cause == "paused"
    assert relay.stopped_here(NOW + 5) is None


def test_a_pause_hides_the_hold_of_all_senders_and_does_not_mend_it() -> None:
    share = ScriptedShare()
    relay = shared(share)
    share.held = TRIP
    assert relay.trouble(NOW) is None, "it is named as the hold itself"
    relay.pause("maintenance", None, NOW)
    trouble = relay.trouble(NOW)
    assert trouble is not None
    assert trouble.cause == "quota"


def test_a_wave_of_refusals_slows_down_once() -> None:
    share = ScriptedShare(connections=8)
    relay = shared(share)
    one = shared(ScriptedShare(connections=8))
    tickets = [start(relay) for _ in range(8)]
    relay.ended(tickets[0], TurnedAway(refusal("throttled"), counted=True, of_all=True), NOW)
    relay.may_start(1, NOW)
    for ticket in tickets[1:]:
        relay.ended(ticket, TurnedAway(refusal("throttled"), counted=True, of_all=True), NOW)
    others = [start(one) for _ in range(8)]
    one.ended(others[0], TurnedAway(refusal("throttled"), counted=True, of_all=True), NOW)
    for ticket in others[1:]:
        one.ended(ticket, Unsent(), NOW)
    assert widths(relay) == widths(one)


def widths(relay: Governor) -> list[int]:
    """How many may be in flight after each of some answers."""
    found = []
    for _ in range(12):
        relay.may_start(1, NOW)
        relay.ended(relay.started(1, NOW), Answered(), NOW)
        found.append(relay.pace.width)
    return found


def test_after_a_hold_mail_begins_to_go_out_singly_whatever_late_answers_say() -> None:
    share = ScriptedShare(connections=4)
    relay = shared(share)
    tickets = [start(relay) for _ in range(4)]
    share.round, share.held = 1, TRIP
    assert isinstance(relay.may_start(1, NOW), Wait)
    for ticket in tickets:
        relay.ended(ticket, Answered(), NOW)
    share.held = None
    first = start(relay)
    assert relay.may_start(1, NOW) == Busy()
    relay.ended(first, Answered(), NOW)
    assert relay.pace.width == 2


def test_a_refused_probe_says_nothing_about_speed() -> None:
    share = ScriptedShare(connections=4)
    relay = shared(share)
    share.round, share.held, share.probes = 1, TRIP, True
    probe = start(relay)
    before = relay.pace.per_minute, relay.pace.width
    relay.ended(probe, TurnedAway(refusal("throttled"), counted=True, of_all=True), NOW)
    assert (relay.pace.per_minute, relay.pace.width) == before
    share.held = None
    assert widths(relay)[:3] == [2, 3, 4]


@pytest.mark.parametrize(
    "ending", [Answered(), Unheard(), Unsent(), TurnedAway(refusal(), counted=True, of_all=True)]
)
def test_each_mail_is_ended_once_and_its_budget_settled(ending: Ending) -> None:
    share = ScriptedShare()
    relay = shared(share, "10 mails/day")
    ticket = start(relay)
    relay.ended(ticket, ending, NOW)
    assert share.endings == [ending]
    assert relay.in_flight == 0
    with pytest.raises(KeyError):
        relay.ended(ticket, ending, NOW)
    assert share.endings == [ending]


def test_a_rate_that_keeps_mail_waiting_is_told_and_stops_nothing() -> None:
    share = ScriptedShare()
    relay = shared(share, "3 mails/minute")
    relay.ended(start(relay), Answered(), NOW)
    later = NOW + 6
    assert isinstance(relay.may_start(1, later), Soon)
    assert relay.hold(later) is None, "nobody has waited for long"
    share.slow = Slowness(NOW, "")
    hold = relay.hold(later)
    assert hold is not None
    assert (hold.cause, hold.since) == ("rate", NOW)
    assert "3 mails/minute" in hold.reason
    assert hold.until is not None
    assert later < hold.until <= NOW + 60
    assert isinstance(relay.may_start(1, later), Soon), (
        "another relay of the route does not take its mail for that"
    )
    assert relay.hold(hold.until) == hold, "it stands while mail goes out one by one"
    share.slow = None
    assert relay.hold(later) is None


def test_a_wait_for_a_lease_is_told_with_its_reason() -> None:
    share = ScriptedShare(connections=0)
    share.slow = Slowness(NOW - 5, "no sender allots its limits")
    relay = shared(share)
    assert isinstance(relay.may_start(1, NOW), Busy)
    hold = relay.hold(NOW)
    assert hold is not None
    assert (hold.cause, hold.reason, hold.since) == (
        "no_lease",
        "relay main: no sender allots its limits",
        NOW - 5,
    )
    assert hold.until is not None
    assert relay.hold(NOW + 1) == hold


def test_a_relay_that_has_slowed_us_down_is_told_as_such() -> None:
    share = ScriptedShare()
    relay = shared(share)
    for second in range(60):
        relay.ended(start(relay, NOW + second), Answered(), NOW + second)
    ticket = start(relay, NOW + 60)
    share.round = 1
    relay.ended(ticket, TurnedAway(refusal("throttled"), counted=True, of_all=True), NOW + 60)
    relay.pace._per_minute = 1.0
    share.slow = Slowness(NOW + 70, "")
    hold = relay.hold(NOW + 80)
    assert hold is not None
    assert hold.cause == "throttled"
    assert "starts are spread to 1 a minute" in hold.reason
