"""The governor on random schedules: its invariants hold, and each planted bug breaks one of them."""

from collections import Counter

import pytest

from unit.core.limits.oracle import Violation
from unit.core.limits.planted import PLANTED, Planted
from unit.core.limits.world import World

SEEDS = 240
STEPS = (60, 200, 500)
PLANTED_SEEDS_MAX = 2000  # a planted bug must show within so many schedules


def play(seed: int, planted: Planted) -> World:
    """One schedule; raises Violation with the seed."""
    world = World(seed, planted, STEPS[seed % len(STEPS)])
    try:
        world.run()
    except Violation as violation:
        violation.add_note(
            f"seed {seed}, budgets {[str(budget) for budget in world.budgets]}, {world.policy}"
        )
        violation.add_note("\n".join(world.trace[-30:]))
        raise
    return world


@pytest.mark.parametrize("block", range(4))
def test_no_schedule_breaks_an_invariant(block: int) -> None:
    stats: Counter[str] = Counter()
    for seed in range(block * SEEDS // 4, (block + 1) * SEEDS // 4):
        stats += play(seed, Planted()).stats
    assert min(stats[what] for what in ("started", "Wait", "Soon", "Busy")) > SEEDS


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.__name__)
def test_every_planted_bug_is_caught(planted: type[Planted]) -> None:
    for seed in range(PLANTED_SEEDS_MAX):
        try:
            play(seed, planted())
        except Violation:
            return
    pytest.fail(f"no schedule noticed: {planted.__doc__}")


def test_a_seed_plays_the_same_schedule_again() -> None:
    assert play(7, Planted()).trace == play(7, Planted()).trace
