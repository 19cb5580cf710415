"""What a run of the simulation found, part by part and in sum."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FAILING_SEEDS_MAX = 20  # enough to begin with


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """One part's: `schedules` counts those with planted bugs, too; `stats` is what happened in those without."""

    seeds: int
    schedules: int
    failing_seeds: Sequence[int] = ()
    planted: int = 0
    missed: Sequence[str] = ()
    stats: Counter[str] = field(default_factory=Counter)

    @property
    def sound(self) -> bool:
        """Whether no schedule broke an invariant, and every planted bug did."""
        return not self.failing_seeds and not self.missed

    def as_json(self) -> dict[str, object]:
        """For the last line."""
        return {
            "seeds": self.seeds,
            "schedules": self.schedules,
            "violations": len(self.failing_seeds),
            "failing_seeds": list(self.failing_seeds[:FAILING_SEEDS_MAX]),
            "planted": self.planted,
            "caught": self.planted - len(self.missed),
            "missed": list(self.missed),
            **self.stats,
        }


def summary(parts: Mapping[str, Findings]) -> dict[str, object]:
    """The whole run: `seeds` is what each part played, everything else the sum over the parts."""
    found = parts.values()
    return {
        "seeds": max((one.seeds for one in found), default=0),
        "schedules": sum(one.schedules for one in found),
        "violations": sum(len(one.failing_seeds) for one in found),
        "planted": sum(one.planted for one in found),
        "caught": sum(one.planted - len(one.missed) for one in found),
        "parts": {name: one.as_json() for name, one in parts.items()},
    }
