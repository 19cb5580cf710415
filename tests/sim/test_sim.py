"""A short simulation in every test run; `make sim` plays thousands of seeds."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from postlane.core.sending import journal_age
from postlane.core.sharing.books import Books
from sim.__main__ import main
from sim.leases.planted import UsingIgnored
from sim.part import Part
from sim.parts import GOVERNOR, LANES, LEASES, PARTS

SEEDS = 50
BLOCKS = range(4)
ENOUGH = {LANES: ("mails",), GOVERNOR: ("started", "Wait", "Soon", "Busy"), LEASES: ("mails",)}
"""What must have happened on average once in each schedule: a simulation of nothing finds nothing."""


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_no_schedule_breaks_an_invariant(part: Part[Any], block: int) -> None:
    stats: Counter[str] = Counter()
    for seed in range(block * SEEDS, block * SEEDS + SEEDS):
        stats += part.play(seed).stats
    assert min(stats[what] for what in ENOUGH[part]) > SEEDS


@pytest.mark.parametrize(
    ("part", "planted"),
    [pytest.param(part, bug, id=f"{part.name}-{bug.__name__}") for part in PARTS for bug in part.planted],
)
def test_every_planted_bug_is_caught(part: Part[Any], planted: type[Any]) -> None:
    assert part.catch(planted()) is not None, f"no schedule noticed: {planted.__doc__}"


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_seed_plays_the_same_schedule_again(part: Part[Any]) -> None:
    assert part.play(7).trace == part.play(7).trace


def test_the_core_is_as_before_afterwards() -> None:
    mark, request = journal_age.MARK_SECONDS, Books.request
    LANES.play(7)
    LEASES.catch(UsingIgnored())
    assert mark == journal_age.MARK_SECONDS == 3600.0
    assert request is Books.request


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return said


def with_bugs(part: Part[Any], count: int) -> Part[Any]:
    return replace(part, planted=part.planted[:count])


def test_the_last_line_sums_the_parts_up(capsys: pytest.CaptureFixture[str]) -> None:
    parts = tuple(with_bugs(part, 2) for part in PARTS)
    assert main(["--seeds", "3"], parts) == 0
    said = last_line(capsys)
    assert (said["seeds"], said["violations"], said["planted"], said["caught"]) == (3, 0, 6, 6)
    assert said["schedules"] == sum(one["schedules"] for one in said["parts"].values()) > 9
    assert {name: one["caught"] for name, one in said["parts"].items()} == {
        "lanes": 2,
        "governor": 2,
        "leases": 2,
    }


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_a_violation_in_any_part_fails_the_run(part: Part[Any], capsys: pytest.CaptureFixture[str]) -> None:
    bug = part.planted[0]
    caught = part.catch(bug())
    assert caught is not None
    broken = replace(part, sound=bug, planted=())
    parts = tuple(broken if one is part else replace(one, planted=()) for one in PARTS)
    assert main(["--seeds", str(caught.seed + 1)], parts) == 1
    said = last_line(capsys)
    assert said["violations"] == said["parts"][part.name]["violations"] == 1
    assert said["parts"][part.name]["failing_seeds"] == [caught.seed]


def test_a_planted_bug_that_nobody_notices_fails_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.part.PLANTED_SEEDS_MAX", 3)
    parts = (replace(GOVERNOR, planted=(GOVERNOR.planted[0], GOVERNOR.sound)),)
    assert main(["--seeds", "1"], parts) == 1
    said = last_line(capsys)
    assert (
        said["parts"]["governor"]["missed"] == ["Planted"] or "Planted" in said["parts"]["governor"]["missed"]
    )


def test_a_schedule_can_be_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    caught = LEASES.catch(UsingIgnored())
    assert caught is not None
    assert main(["--part", "leases", "--seed", str(caught.seed), "--bug", "UsingIgnored"]) == 1
    assert capsys.readouterr().out.rstrip().endswith(f"seed {caught.seed}: {caught.violation}")
    assert main(["--part", "leases", "--seed", str(caught.seed)]) == 0


def test_a_bug_of_another_part_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["--part", "governor", "--seed", "1", "--bug", "UsingIgnored"])
