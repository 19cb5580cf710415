"""The pace: down at once, up slowly, never below one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.limits.microseconds import MICRO
from postlane.core.limits.pace import ANSWERS_PER_STEP, MEASURE_STARTS, RECOVERY_SECONDS, Pace
from unit.core.limits.parts import NOW_US


def fed(starts: int, every_us: int, connections: int = 8) -> tuple[Pace, int]:
    """A pace that has seen so many starts, and the time after them."""
    pace = Pace(connections)
    for n in range(starts):
        pace.started(NOW_US + n * every_us)
    return pace, NOW_US + (starts - 1) * every_us


def test_nothing_is_slowed_down_without_a_throttle() -> None:
    pace = Pace(8)
    assert pace.width == 8
    assert pace.earliest(NOW_US) == NOW_US
    assert pace.through(1000, NOW_US) == NOW_US


def test_after_a_hold_the_width_grows_by_one_an_answer() -> None:
    pace = Pace(4)
    pace.held()
    widths = []
    for _ in range(5):
        widths.append(pace.width)
        pace.answered(NOW_US)
    assert widths == [1, 2, 3, 4, 4]


def test_a_throttled_relay_gets_half_the_connections_for_long() -> None:
    pace = Pace(8)
    pace.throttled("connections", NOW_US)
    pace.held()
    for _ in range(3):
        pace.answered(NOW_US)
    assert pace.width == 4
    for _ in range(ANSWERS_PER_STEP - 1):
        pace.answered(NOW_US)
    assert pace.width == 4
    for _ in range(4 * ANSWERS_PER_STEP + 4):
        pace.answered(NOW_US)
    assert pace.width == 8


def test_too_many_connections_do_not_slow_down_the_rate() -> None:
    pace, now_us = fed(20, MICRO // 10)
    pace.throttled("connections", now_us)
    assert pace.per_minute is None


@pytest.mark.parametrize("cause", ["quota", "auth", "connection", "too_many_dead"])
def test_what_does_not_speak_of_speed_changes_no_speed(cause: str) -> None:
    pace, now_us = fed(20, MICRO // 10)
    pace.throttled(cause, now_us)
    assert (pace.width, pace.per_minute) == (8, None)


def answers(pace: Pace, now_us: int, seconds: float, every_seconds: float = 1.0) -> int:
    """Answers at this interval for so long, and the time after them."""
    for _ in range(round(seconds / every_seconds)):
        now_us += round(every_seconds * MICRO)
        pace.answered(now_us)
    return now_us


def test_a_rate_is_halved_and_comes_back_in_the_time_that_is_said() -> None:
    pace, now_us = fed(100, MICRO // 10)  # ten a second
    pace.throttled("rate", now_us)
    assert pace.per_minute == pytest.approx(300)
    pace.started(now_us)
    assert pace.earliest(now_us) == now_us + MICRO // 5
    now_us = answers(pace, now_us, RECOVERY_SECONDS)
    assert pace.per_minute == pytest.approx(600)
    now_us = answers(pace, now_us, 2 * RECOVERY_SECONDS + 1)
    assert pace.per_minute is None
    assert pace.earliest(now_us) == now_us


def test_each_throttle_halves_again_however_slow_we_have_become() -> None:
    pace, now_us = fed(100, MICRO // 10)
    for rate in (300, 150, 75):
        pace.throttled("throttled", now_us)
        assert pace.per_minute == pytest.approx(rate)
        now_us += 60 * MICRO


def test_a_quiet_night_is_no_recovery() -> None:
    pace, now_us = fed(100, MICRO // 10)
    pace.throttled("rate", now_us)
    pace.answered(now_us + 8 * 3600 * MICRO)
    assert pace.per_minute == pytest.approx(330)


def test_a_few_mails_are_no_rate() -> None:
    pace, now_us = fed(MEASURE_STARTS - 1, MICRO // 10)
    pace.throttled("rate", now_us)
    assert pace.per_minute is None
    assert pace.earliest(now_us) == now_us


def test_after_a_clock_was_set_back_nothing_waits_for_the_old_time() -> None:
    pace, now_us = fed(100, MICRO // 10)
    pace.throttled("rate", now_us)
    back_us = now_us - 3600 * MICRO
    assert pace.earliest(back_us) == back_us
    pace.started(back_us)
    assert pace.earliest(back_us) == back_us + MICRO // 5


def test_the_forecast_takes_the_pace_as_it_is() -> None:
    pace, now_us = fed(100, MICRO // 10)
    pace.throttled("rate", now_us)
    assert pace.through(11, now_us) == now_us + 11 * MICRO // 5


@given(
    st.lists(st.sampled_from(["rate", "connections", "throttled", "answer", "hold", "start"]), max_size=200)
)
def test_width_and_rate_stay_within_their_bounds(moves: list[str]) -> None:
    pace, now_us = Pace(6), NOW_US
    for move in moves:
        now_us += MICRO
        match move:
            case "answer":
                pace.answered(now_us)
            case "hold":
                pace.held()
            case "start":
                pace.started(now_us)
            case cause:
                pace.throttled(cause, now_us)
        assert 1 <= pace.width <= 6
        assert pace.per_minute is None or pace.per_minute >= 1
        assert pace.earliest(now_us) <= now_us + 60 * MICRO


def test_without_connections_there_is_no_width() -> None:
    pace = Pace(6)
    pace.connections = 0
    assert pace.width == 0
    pace.answered(NOW_US)
    pace.connections = 6
    assert 1 <= pace.width <= 6
