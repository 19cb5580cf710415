"""The circuit: held, probed with one mail, open."""

import math
from itertools import product

import pytest

from postlane.core.limits.circuit import TRANSITIONS, Circuit, CircuitPolicy, CircuitState, Signal, Trip
from postlane.core.limits.limit import BadLimitState
from unit.core.limits.parts import CIRCUIT, NOW, refusal

OPEN, HELD, PROBING = CircuitState


def tripped(cause: str = "quota", wait_seconds: float | None = None) -> Circuit:
    circuit = Circuit(CIRCUIT)
    assert circuit.refused(refusal(cause, wait_seconds), circuit.round, NOW)
    return circuit


def wait_of(circuit: Circuit) -> float:
    assert circuit.trip is not None
    return circuit.trip.until - NOW


def test_what_the_table_does_not_name_does_not_happen() -> None:
    named = {pair for pair in product(CircuitState, Signal) if pair in TRANSITIONS}
    assert named == {
        (OPEN, Signal.REFUSED),
        (HELD, Signal.DUE),
        (HELD, Signal.HASTENED),
        (PROBING, Signal.REFUSED),
        (PROBING, Signal.ANSWERED),
    }


def test_a_refusal_holds_until_its_time_then_it_is_probed() -> None:
    circuit = tripped()
    assert circuit.at(NOW + 99.9) is HELD
    assert circuit.at(NOW + 100.0) is PROBING


def test_a_person_may_have_it_probed_at_once() -> None:
    circuit = tripped(wait_seconds=250.0)
    assert circuit.hasten(NOW + 1)
    assert (circuit.state, wait_of(circuit)) == (PROBING, 1.0)
    assert not circuit.hasten(NOW + 2)
    assert not Circuit(CIRCUIT).hasten(NOW)


def test_a_probe_that_a_person_wanted_begins_the_waits_anew() -> None:
    circuit, now = tripped(), NOW
    for _ in range(3):
        now += 1000
        circuit.at(now)
        circuit.refused(refusal(), circuit.round, now)
    assert circuit.hasten(now)
    circuit.refused(refusal(), circuit.round, now)
    assert circuit.trip is not None
    assert circuit.trip.until - now == 100.0
    assert circuit.trip.since == NOW


def test_refusals_of_mail_that_was_in_flight_count_once() -> None:
    circuit = tripped()
    assert not circuit.refused(refusal("auth"), 0, NOW + 1)
    assert circuit.at(NOW + 100) is PROBING
    assert not circuit.refused(refusal("auth"), 0, NOW + 101)
    assert circuit.state is PROBING


def test_a_longer_wait_that_a_late_refusal_names_is_honoured() -> None:
    circuit = tripped()
    circuit.refused(refusal("quota", 250.0), 0, NOW + 50)
    assert wait_of(circuit) == 300.0
    circuit.refused(refusal("quota", 1.0), 0, NOW + 60)
    assert wait_of(circuit) == 300.0


def test_each_refused_probe_doubles_the_wait_up_to_the_maximum() -> None:
    circuit, now, waits = Circuit(CIRCUIT), NOW, []
    for _ in range(4):
        assert circuit.refused(refusal(), circuit.round, now)
        assert circuit.trip is not None
        waits.append(circuit.trip.until - now)
        now = circuit.trip.until
        assert circuit.at(now) is PROBING
    assert waits == [100.0, 200.0, 300.0, 300.0]


def test_many_refusals_do_not_overflow() -> None:
    circuit, now = Circuit(CIRCUIT), NOW
    for _ in range(2000):
        circuit.refused(refusal(), circuit.round, now)
        assert circuit.trip is not None
        now = circuit.trip.until
        circuit.at(now)
    assert circuit.trip is not None


@pytest.mark.parametrize(
    ("named", "waits"), [(7.0, [7, 14, 28]), (0.0, [1, 2, 4]), (1000.0, [1000, 1000, 1000])]
)
def test_the_wait_that_the_relay_names_is_taken_and_doubled_below_the_maximum(
    named: float, waits: list[float]
) -> None:
    circuit, now, seen = Circuit(CIRCUIT), NOW, []
    for _ in waits:
        circuit.refused(refusal("rate", named), circuit.round, now)
        assert circuit.trip is not None
        seen.append(circuit.trip.until - now)
        now = circuit.trip.until
        circuit.at(now)
    assert seen == waits


def test_jitter_only_lengthens_a_hold() -> None:
    circuit = Circuit(CircuitPolicy(hold_seconds=100.0, hold_seconds_max=100.0, jitter_share=0.1))
    circuit.refused(refusal(jitter=1.0), 0, NOW)
    assert wait_of(circuit) == pytest.approx(110.0)


def test_a_hold_remembers_since_when() -> None:
    circuit = tripped()
    circuit.at(NOW + 100)
    circuit.refused(refusal("auth"), circuit.round, NOW + 101)
    assert circuit.trip == Trip(cause="auth", reason="relay main: auth", since=NOW, until=NOW + 301)


def test_only_the_probes_answer_opens() -> None:
    circuit = tripped()
    assert not circuit.answered(0)
    circuit.at(NOW + 100)
    assert not circuit.answered(0)
    assert circuit.state is PROBING
    assert circuit.answered(circuit.round)
    assert (circuit.state, circuit.trip) == (OPEN, None)
    assert not circuit.answered(circuit.round)


def test_after_a_release_the_wait_begins_anew() -> None:
    circuit = tripped()
    circuit.at(NOW + 100)
    circuit.refused(refusal(), circuit.round, NOW + 100)
    circuit.at(NOW + 300)
    circuit.answered(circuit.round)
    circuit.refused(refusal(), circuit.round, NOW + 400)
    assert circuit.trip is not None
    assert (circuit.trip.since, circuit.trip.until) == (NOW + 400, NOW + 500)


def test_an_open_circuit_exports_nothing() -> None:
    assert Circuit(CIRCUIT).export() is None


def test_a_probe_under_way_is_made_anew_by_the_next_process() -> None:
    circuit = tripped()
    circuit.at(NOW + 100)
    state = circuit.export()
    assert state is not None
    other = Circuit(CIRCUIT)
    other.restore(state)
    assert other.trip == circuit.trip
    assert other.at(NOW + 100) is PROBING
    other.refused(refusal(), other.round, NOW + 100)
    assert other.trip is not None
    assert other.trip.until == NOW + 300


WHOLE = {"cause": "quota", "reason": "r", "since": NOW, "until": NOW, "refusals": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"cause": 1},
        {"until": "soon"},
        {"until": math.inf},
        {"since": math.nan},
        {"refusals": -1},
        {"refusals": 1.5},
    ],
)
def test_a_state_that_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadLimitState):
        Circuit(CIRCUIT).restore(WHOLE | change)
