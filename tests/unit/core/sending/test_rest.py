"""How long a partition rests after which fault, and how long it is worked with caution."""

import pytest

from postlane.core.sending.rest import FENCED_FORGIVEN, Rest, RestPolicy, next_rest

POLICY = RestPolicy(rests=(5.0, 30.0, 3600.0), caution=600.0, calm=1000.0)


def rests(*faults: tuple[float, bool]) -> Rest:
    rest: Rest | None = None
    for at, fenced in faults:
        rest = next_rest(POLICY, rest, at, fenced=fenced)
    assert rest is not None
    return rest


def test_each_fault_makes_the_rest_longer() -> None:
    assert rests((0, False)) == Rest(1, 5.0, 605.0)
    assert rests((0, False), (10, False)) == Rest(2, 40.0, 640.0)
    assert rests((0, False), (10, False), (50, False)) == Rest(3, 3650.0, 4250.0)
    assert rests((0, False), (10, False), (50, False), (4000, False)).until == 7600.0


def test_after_a_calm_time_the_past_is_forgotten() -> None:
    assert rests((0, False), (1006, False)).faults == 1
    assert rests((0, False), (1004, False)).faults == 2


def test_being_fenced_once_or_twice_asks_for_no_caution() -> None:
    fences = [(float(at), True) for at in range(0, 100, 10)]
    assert rests(*fences[:FENCED_FORGIVEN]).cautious_until == 0.0
    assert rests(*fences[: FENCED_FORGIVEN + 1]).cautious_until > 600.0


def test_a_fence_does_not_end_the_caution_after_a_fault() -> None:
    assert rests((0, False), (10, True)).cautious_until == 605.0


@pytest.mark.parametrize("fenced", [True, False])
def test_the_shipped_policy_lets_a_customer_get_few_copies(fenced: bool) -> None:
    now, copies, rest = 0.0, 0, None
    while now < 86_400:
        rest = next_rest(RestPolicy(), rest, now, fenced=fenced)
        now, copies = rest.until + 1.0, copies + 1
    assert copies < 30
