"""`python -m sim --seeds N`: run the simulation, then every planted bug; the last line is JSON.

`python -m sim --seed S` replays one schedule with its trace. Exit status 1 on a violation or a planted bug not caught.
"""

import argparse
import json
import sys
from collections import Counter

from sim.planted import PLANTED
from sim.sender import Planted
from sim.world import Violation, World

STEPS = (60, 120, 300)
PLANTED_SEEDS_MAX = 3000  # a planted bug must show within so many schedules


def play(seed: int, planted: Planted) -> World:
    """Run one schedule; which one depends on the seed alone."""
    world = World(seed, planted, STEPS[seed % len(STEPS)], recreate=seed % 4 == 0)
    world.run()
    return world


def caught_at(planted: Planted) -> int | None:
    """The first seed that catches the bug."""
    for seed in range(PLANTED_SEEDS_MAX):
        try:
            play(seed, planted)
        except Violation:
            return seed
    return None


def replay(seed: int) -> int:
    """Print one schedule's trace."""
    world = World(seed, Planted(), STEPS[seed % len(STEPS)], recreate=seed % 4 == 0)
    try:
        world.run()
    except Violation as violation:
        print("\n".join([*world.trace, f"seed {seed}: {violation}"]))
        return 1
    print("\n".join([*world.trace, f"seed {seed}: no violation"]))
    return 0


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed)
    violations: list[tuple[int, str]] = []
    stats: Counter[str] = Counter()
    for seed in range(options.seeds):
        try:
            stats += play(seed, Planted()).stats
        except Violation as violation:
            violations.append((seed, str(violation)))
            print(f"seed {seed}: {violation} (replay: python -m sim --seed {seed})")
    caught = {planted.__name__: caught_at(planted()) for planted in PLANTED}
    for name, seed_caught in caught.items():
        print(f"planted {name}: {'NOT CAUGHT' if seed_caught is None else f'caught at seed {seed_caught}'}")
    summary = {
        "seeds": options.seeds,
        "violations": len(violations),
        "failing_seeds": [seed for seed, _ in violations[:20]],
        **stats,
        "planted": len(caught),
        "caught": sum(seed is not None for seed in caught.values()),
    }
    print(json.dumps(summary))
    return 0 if not violations and summary["caught"] == summary["planted"] else 1


if __name__ == "__main__":
    sys.exit(main())
