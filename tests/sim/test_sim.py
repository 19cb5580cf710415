"""A short simulation in every test run; `make sim` plays thousands of seeds."""

import pytest

from sim.__main__ import caught_at, play
from sim.planted import PLANTED
from sim.sender import Planted


@pytest.mark.parametrize("block", range(4))
def test_no_schedule_breaks_an_invariant(block: int) -> None:
    mails = 0
    for seed in range(block * 50, block * 50 + 50):
        mails += play(seed, Planted()).stats["mails"]
    assert mails > 0


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.__name__)
def test_every_planted_bug_is_caught(planted: type[Planted]) -> None:
    assert caught_at(planted()) is not None, f"no schedule noticed: {planted.__doc__}"


def test_a_seed_plays_the_same_schedule_again() -> None:
    assert play(7, Planted()).trace == play(7, Planted()).trace
