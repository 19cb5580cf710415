"""A refresh while a mail may not start yet."""

from dataclasses import replace

from postlane.core.sending.lane_mail import Load, Loaded, Tick
from unit.core.lane_bench import NOW, Bench, arrival
from unit.core.sending.test_lane_refresh import DAY, parked, put

OLD = ((NOW - 16 * DAY, 3),)


def test_a_refreshed_mail_that_may_not_start_yet_is_let_go_again() -> None:
    bench = Bench(replace(parked((3, put(5, due=NOW - 1)), retry_end=4, marks=OLD), base=0))
    bench.now += 60
    loads = [effect for effect in bench.play(Tick()) if isinstance(effect, Load)]
    bench.play(Loaded(loads[0].origin, arrival(5).content, refresh=True))
    bench.commit()
    assert bench.lanes.memory_mails == 0
