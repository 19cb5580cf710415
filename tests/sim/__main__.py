"""`python -m sim --seeds N`: run every part of the simulation, then all its planted bugs; the last line is JSON.

`--part NAME` runs one part alone; with `--seed S [--bug NAME]` it replays one schedule with its trace. Exit status 1 on a violation or a
planted bug not caught.
"""

import argparse
import json
import sys
from collections import Counter
from typing import Any

from sim.part import PLANTED_SEEDS_MAX, Part, Violation
from sim.parts import LANES, PARTS
from sim.report import Findings, summary


def replay(part: Part[Any], seed: int, bug: str | None) -> int:
    """Print one schedule's trace."""
    planted = next((planted for planted in part.planted if planted.__name__ == bug), part.sound)
    world = part.world_of(seed, planted())
    found = "no violation"
    try:
        world.run()
    except Violation as violation:
        found = str(violation)
    except Exception as fault:
        print("\n".join(world.trace))
        fault.add_note(f"in the schedule of seed {seed}")
        raise
    print("\n".join([f"{world.traits}", *world.trace, f"seed {seed}: {found}"]))
    return 0 if found == "no violation" else 1


def run_seeds(part: Part[Any], seeds: int) -> tuple[list[int], Counter[str]]:
    """Play the schedules of the seeds; those that failed, and what all the others did."""
    failing: list[int] = []
    stats: Counter[str] = Counter()
    for seed in range(seeds):
        try:
            stats += part.play(seed).stats
        except Violation as violation:
            failing.append(seed)
            print(f"{part.name} seed {seed}: {violation} ({violation.__notes__[-1]})")
    return failing, stats


def run_planted(part: Part[Any]) -> tuple[list[str], int]:
    """Plant each bug; those that were not caught, and how many schedules it took."""
    missed: list[str] = []
    schedules = 0
    for planted in part.planted:
        caught = part.catch(planted())
        schedules += PLANTED_SEEDS_MAX if caught is None else caught.seed + 1
        if caught is None:
            missed.append(planted.__name__)
        told = "NOT CAUGHT" if caught is None else f"caught at seed {caught.seed}: {caught.violation}"
        print(f"{part.name} planted {planted.__name__}: {told}", flush=True)
    return missed, schedules


def examine(part: Part[Any], seeds: int) -> Findings:
    """All that one part can say."""
    failing, stats = run_seeds(part, seeds)
    print(f"{part.name}: {seeds} seeds, {len(failing)} violations", flush=True)
    missed, schedules = run_planted(part)
    return Findings(
        seeds=seeds,
        schedules=seeds + schedules,
        failing_seeds=failing,
        planted=len(part.planted),
        missed=missed,
        stats=stats,
    )


def main(arguments: list[str] | None = None, parts: tuple[Part[Any], ...] = PARTS) -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--part", choices=[part.name for part in parts])
    parser.add_argument("--seed", type=int, help=f"replay it; of part {LANES.name} unless another is named")
    parser.add_argument("--bug", help="with --seed: plant this one")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        part = next(part for part in parts if part.name == (options.part or LANES.name))
        if options.bug not in {None, *(planted.__name__ for planted in part.planted)}:
            parser.error(f"part {part.name} has no bug {options.bug}")
        return replay(part, options.seed, options.bug)
    chosen = [part for part in parts if options.part in {None, part.name}]
    found = {part.name: examine(part, options.seeds) for part in chosen}
    print(json.dumps(summary(found)))
    return 0 if all(one.sound for one in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
