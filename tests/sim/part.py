"""A part of the simulation: a piece of the real core on random schedules, its invariants, and the bugs that these must notice."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

PLANTED_SEEDS_MAX = 3000  # a planted bug must show within so many schedules


class Violation(Exception):
    """An invariant is broken; the text begins with its name."""


class World(Protocol):
    """One schedule, of which everything depends on its seed. `traits` says what kind it is, `stats` what happened in it."""

    trace: list[str]
    stats: Counter[str]

    @property
    def traits(self) -> object: ...

    def run(self) -> None:
        """Play it. Raises Violation."""
        ...


P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[P]):
    """`world` makes the schedule of a seed with a bug planted, of so many steps; `sound` plants none."""

    name: str
    world: Callable[[int, P, int], World]
    sound: type[P]
    planted: tuple[type[P], ...]
    steps: tuple[int, ...]

    def world_of(self, seed: int, planted: P) -> World:
        """The schedule of a seed, before it is played."""
        return self.world(seed, planted, self.steps[seed % len(self.steps)])

    def play(self, seed: int, planted: P | None = None) -> World:
        """Play one schedule, without a bug unless one is given. Raises Violation."""
        world = self.world_of(seed, self.sound() if planted is None else planted)
        try:
            world.run()
        except Exception as fault:
            fault.add_note(f"replay: python -m sim --part {self.name} --seed {seed}")
            raise
        return world

    def catch(self, planted: P) -> "Caught | None":
        """Play until an invariant notices the bug."""
        for seed in range(PLANTED_SEEDS_MAX):
            try:
                self.play(seed, planted)
            except Violation as violation:
                return Caught(seed, str(violation))
        return None


@dataclass(frozen=True, slots=True)
class Caught:
    """The first seed that catches a bug, and what it said."""

    seed: int
    violation: str
