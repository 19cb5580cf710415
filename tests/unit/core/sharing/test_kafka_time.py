from hypothesis import given
from hypothesis import strategies as st

from postlane.core.sharing.kafka_time import KafkaTime
from postlane.core.sharing.terms import DRIFT

NOON = 1_790_640_000.0
TWO_HOURS = 7200.0


def test_before_the_brokers_have_told_the_time_it_is_this_machines() -> None:
    time = KafkaTime(NOON + TWO_HOURS, 5.0)
    assert not time.known
    assert time.at(6.0) == NOON + TWO_HOURS + 1.0
    assert time.skew(NOON, 6.0) == 0.0


@given(skew=st.sampled_from([-TWO_HOURS, 0.0, TWO_HOURS]), writing=st.floats(0, 1), reading=st.floats(0, 1))
def test_the_first_record_of_ours_sets_the_time(skew: float, writing: float, reading: float) -> None:
    time = KafkaTime(NOON + skew, 5.0)
    composed, now = 10.0, 10.0 + writing + reading
    time.read_back(NOON + 5.0 + writing, composed, now)
    true = NOON + now - 5.0
    assert time.known
    assert abs(time.at(now) - true) <= (writing + reading) / 2 + 1e-6
    assert abs(time.skew(true + skew, now) - skew) <= 1.0 + 1e-6


def test_a_clock_that_is_set_while_we_run_changes_nothing_but_the_skew() -> None:
    time = KafkaTime(NOON, 0.0)
    time.read_back(NOON + 1.0, 1.0, 1.0)
    assert time.at(60.0) == NOON + 60.0
    assert time.skew(NOON + 60.0 - TWO_HOURS, 60.0) == -TWO_HOURS


@given(
    jump=st.sampled_from([-TWO_HOURS, TWO_HOURS]),
    pauses=st.lists(st.floats(0.01, 30), min_size=1, max_size=20),
)
def test_a_broker_with_a_wrong_clock_moves_the_time_hardly(jump: float, pauses: list[float]) -> None:
    time, now = KafkaTime(NOON, 0.0), 0.0
    time.read_back(NOON, 0.0, 0.0)
    for pause in pauses:
        before, now = time.at(now), now + pause
        time.read_back(NOON + now + jump, now, now)
        passed = time.at(now) - before
        assert (1 - DRIFT) * pause - 1e-6 <= passed <= (1 + DRIFT) * pause + 1e-6


@given(
    rate=st.floats(1 - DRIFT / 2, 1 + DRIFT / 2), pauses=st.lists(st.floats(0.5, 20), min_size=1, max_size=50)
)
def test_it_keeps_up_with_a_clock_of_ours_that_is_too_fast_or_slow(rate: float, pauses: list[float]) -> None:
    time, true = KafkaTime(0.0, 0.0), 0.0
    time.read_back(NOON, 0.0, 0.0)
    for pause in pauses:
        true += pause
        time.read_back(NOON + true, true * rate, true * rate)
        assert abs(time.at(true * rate) - (NOON + true)) <= DRIFT * pause + 1e-6
