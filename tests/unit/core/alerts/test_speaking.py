"""Of several processes that see the same, one tells people."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from postlane.core.alerts.catalogue import AlertName
from postlane.core.alerts.raising import Alerts, Clear, Condition, Effect, Pace, Raise, Remind, step
from postlane.core.alerts.speaking import Speaking, everybody_speaks

T0 = 1_800_000_000.0
PACE = Pace(settle_seconds=60, repeat_seconds=3600)


def condition(alert: AlertName = AlertName.RELAY_HELD, subject: str = "main") -> Condition:
    return Condition(alert=alert, subject=subject, since=T0, cause="quota", reason="no")


@dataclass
class Process:
    """One sender's alerts, and what it tells people."""

    speaks: bool
    alerts: Alerts = field(default_factory=lambda: Alerts(PACE))
    speaking: Speaking = field(init=False)

    def __post_init__(self) -> None:
        self.speaking = Speaking(lambda _relay: self.speaks)

    def sees(self, now: float, *conditions: Condition) -> list[type[Effect]]:
        effects = step(self.alerts, conditions, now)
        return [type(effect) for effect in self.speaking.step(effects, self.alerts.raised)]


def test_one_of_them_tells_all() -> None:
    speaker, other = Process(speaks=True), Process(speaks=False)
    for process in (speaker, other):
        told = process.sees(T0, condition())
        told += process.sees(T0 + 3600, condition())
        told += process.sees(T0 + 3700)
        assert told == ([Raise, Remind, Clear] if process is speaker else [])


def test_who_becomes_the_speaker_tells_what_stands_once() -> None:
    heir = Process(speaks=False)
    assert heir.sees(T0, condition(), condition(subject="backup")) == []
    heir.speaks = True
    assert heir.sees(T0 + 1, condition(), condition(subject="backup")) == [Raise, Raise]
    assert heir.sees(T0 + 2, condition(), condition(subject="backup")) == []
    assert heir.sees(T0 + 100) == [Clear, Clear]


def test_what_is_over_before_it_became_the_speaker_is_not_told() -> None:
    heir = Process(speaks=False)
    heir.sees(T0, condition())
    assert heir.sees(T0 + 100) == []
    heir.speaks = True
    assert heir.sees(T0 + 101) == []


def test_a_speaker_who_comes_back_does_not_repeat_itself() -> None:
    process = Process(speaks=True)
    assert process.sees(T0, condition()) == [Raise]
    process.speaks = False
    assert process.sees(T0 + 1, condition()) == []
    process.speaks = True
    assert process.sees(T0 + 2, condition()) == []


def test_who_told_of_a_trouble_tells_of_its_end() -> None:
    process = Process(speaks=True)
    process.sees(T0, condition())
    process.speaks = False
    assert process.sees(T0 + 3700, condition()) == []
    assert process.sees(T0 + 3800) == [Clear]


def test_what_only_one_process_sees_it_tells_itself() -> None:
    process = Process(speaks=False)
    own = (AlertName.DEAD_LETTERS_GROW, AlertName.BACKLOG_OLD, AlertName.RELAY_DISTRUSTED)
    assert process.sees(T0, *(condition(alert, "") for alert in own)) == [Raise] * 3


def test_who_knows_of_no_others_speaks() -> None:
    assert everybody_speaks("main")


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.floats(1, 5000)), max_size=40))
def test_whoever_speaks_what_stands_has_been_told(moves: list[tuple[int, bool, float]]) -> None:
    processes = [Process(speaks=number == 0) for number in range(3)]
    now, heard = T0, [False] * 3
    for speaker, seen, seconds in moves:
        now += seconds
        for number, process in enumerate(processes):
            process.speaks = number == speaker
        for number, process in enumerate(processes):
            for told in process.sees(now, *([condition()] if seen else [])):
                assert number == speaker or told is Clear
                heard[number] = told is not Clear
        if processes[speaker].alerts.raised:
            assert heard[speaker]
