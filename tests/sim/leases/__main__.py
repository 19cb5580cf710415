"""`python -m sim.leases --seeds N`: share a relay on random schedules, then plant every bug; the last line is JSON.

`python -m sim.leases --seed S [--bug NAME]` replays one schedule with its trace. Exit status 1 on a violation or a planted bug not caught.
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass

from sim.leases.hooks import Planted
from sim.leases.planted import PLANTED
from sim.leases.witness import Violation
from sim.leases.world import World

STEPS = (60, 150, 400)
PLANTED_SEEDS_MAX = 3000  # a planted bug must show within so many schedules


@dataclass(frozen=True)
class Caught:
    """The first seed that catches a bug, and what it said."""

    seed: int
    violation: str


def world_of(seed: int, planted: Planted) -> World:
    """The schedule of a seed, before it is played."""
    return World(seed, planted, STEPS[seed % len(STEPS)])


def play(seed: int, planted: Planted) -> World:
    """Run one schedule. Raises Violation."""
    world = world_of(seed, planted)
    world.run()
    return world


def catch(planted: Planted) -> Caught | None:
    """Play until an invariant notices the bug."""
    for seed in range(PLANTED_SEEDS_MAX):
        try:
            play(seed, planted)
        except Violation as violation:
            return Caught(seed, str(violation))
    return None


def replay(seed: int, planted: Planted) -> int:
    """Print one schedule's trace."""
    world = world_of(seed, planted)
    found = "no violation"
    try:
        world.run()
    except Violation as violation:
        found = str(violation)
    print("\n".join([f"{world.around.terms}", *world.trace, f"seed {seed}: {found}"]))
    return 0 if found == "no violation" else 1


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="sim.leases", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--bug", choices=[planted.__name__ for planted in PLANTED])
    options = parser.parse_args()
    if options.seed is not None:
        bug = next((planted for planted in PLANTED if planted.__name__ == options.bug), Planted)
        return replay(options.seed, bug())
    failing: list[int] = []
    stats: Counter[str] = Counter()
    for seed in range(options.seeds):
        try:
            stats += play(seed, Planted()).around.stats
        except Violation as violation:
            failing.append(seed)
            print(f"seed {seed}: {violation} (replay: python -m sim.leases --seed {seed})")
    missed: list[str] = []
    for planted in PLANTED:
        caught = catch(planted())
        if caught is None:
            missed.append(planted.__name__)
        told = "NOT CAUGHT" if caught is None else f"caught at seed {caught.seed}: {caught.violation}"
        print(f"planted {planted.__name__}: {told}", flush=True)
    summary = {
        "seeds": options.seeds,
        "violations": len(failing),
        "failing_seeds": failing[:20],
        **stats,
        "planted": len(PLANTED),
        "caught": len(PLANTED) - len(missed),
        "missed": missed,
    }
    print(json.dumps(summary))
    return 1 if failing or missed else 0


if __name__ == "__main__":
    sys.exit(main())
