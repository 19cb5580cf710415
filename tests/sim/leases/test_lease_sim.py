"""A short simulation in every test run; `python -m sim.leases` plays thousands of seeds."""

import pytest

from postlane.core.sharing.books import Books
from sim.leases.__main__ import catch, play
from sim.leases.hooks import Planted
from sim.leases.planted import PLANTED, UsingIgnored


@pytest.mark.parametrize("block", range(4))
def test_no_schedule_breaks_an_invariant(block: int) -> None:
    mails = 0
    for seed in range(block * 50, block * 50 + 50):
        mails += play(seed, Planted()).around.stats["mails"]
    assert mails > 0


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.__name__)
def test_every_planted_bug_is_caught(planted: type[Planted]) -> None:
    assert catch(planted()) is not None, f"no schedule noticed: {planted.__doc__}"


def test_a_seed_plays_the_same_schedule_again() -> None:
    assert play(7, Planted()).trace == play(7, Planted()).trace


def test_the_core_is_as_before_afterwards() -> None:
    before = Books.request
    catch(UsingIgnored())
    assert before is Books.request
