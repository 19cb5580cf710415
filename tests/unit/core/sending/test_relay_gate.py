"""The relay's gate: open, held, probing."""

import pytest

from postlane.core.sending.relay_gate import GatePolicy, GateState, RelayGate

POLICY = GatePolicy(connections=8, hold_seconds=100.0, hold_seconds_max=300.0, jitter_share=0.0)


def gate() -> RelayGate:
    return RelayGate("main", POLICY)


def test_an_open_gate_lets_as_many_start_as_there_are_connections() -> None:
    assert gate().free_slots(in_flight=3, now=0.0) == 5
    assert gate().free_slots(in_flight=9, now=0.0) == 0


def test_a_refusal_holds_until_its_time_then_one_probe_starts() -> None:
    held = gate()
    hold = held.refused("quota", "550 5.4.5", None, now=0.0, jitter=0.0)
    assert hold.until == 100.0
    assert held.free_slots(0, now=99.9) == 0
    assert held.free_slots(0, now=100.0) == 1
    assert held.free_slots(1, now=101.0) == 0


def test_replies_of_mails_that_were_in_flight_count_once() -> None:
    held = gate()
    first = held.refused("quota", "a", None, now=0.0, jitter=0.0)
    assert held.refused("quota", "b", None, now=1.0, jitter=0.0) == first


def test_each_failed_probe_doubles_the_hold_up_to_the_maximum() -> None:
    held, now, waits = gate(), 0.0, []
    for _ in range(4):
        hold = held.refused("quota", "x", None, now=now, jitter=0.0)
        waits.append(hold.until - now)
        now = hold.until
        assert held.free_slots(0, now) == 1
    assert waits == [100.0, 200.0, 300.0, 300.0]


def test_the_wait_that_the_relay_names_is_taken() -> None:
    assert gate().refused("quota", "x", 7.0, now=0.0, jitter=0.0).until == 7.0


def test_jitter_only_lengthens_a_hold() -> None:
    shaken = RelayGate(
        "main", GatePolicy(connections=1, hold_seconds=100.0, hold_seconds_max=100.0, jitter_share=0.1)
    )
    assert shaken.refused("quota", "x", None, now=0.0, jitter=1.0).until == pytest.approx(110.0)


def test_a_hold_remembers_since_when() -> None:
    held = gate()
    held.refused("quota", "x", None, now=5.0, jitter=0.0)
    held.free_slots(0, now=105.0)
    assert held.refused("quota", "x", None, now=106.0, jitter=0.0).since == 5.0


def test_the_probes_answer_opens_without_a_wave() -> None:
    held = gate()
    held.refused("quota", "x", None, now=0.0, jitter=0.0)
    held.free_slots(0, now=100.0)
    assert held.answered()
    assert held.state is GateState.OPEN
    assert held.hold is None
    widths = []
    for _ in range(5):
        widths.append(held.free_slots(0, now=101.0))
        assert not held.answered()
    assert widths == [1, 2, 4, 8, 8]


def test_a_late_answer_from_before_the_hold_does_not_open() -> None:
    held = gate()
    held.refused("quota", "x", None, now=0.0, jitter=0.0)
    assert not held.answered()
    assert held.state is GateState.HELD
