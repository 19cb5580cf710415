"""How a partition goes on after its owner had to give it up: it rests, longer each time, then sends one mail at a time.

What was in flight or not yet committed when a partition is given up goes out again. Were a fault to come back after every
take-over, the same customer would get the same mail for ever; with growing rests and a single mail at risk it is few.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RestPolicy:
    """All in seconds. After `calm` without a new fault the history is forgotten."""

    rests: tuple[float, ...] = (5.0, 30.0, 120.0, 600.0, 3600.0)  # the last one repeats
    fenced_rest_max: float = (
        60.0  # the successor that fenced us does the work, or the group soon says who shall
    )
    caution: float = 600.0
    calm: float = 3600.0


FENCED_FORGIVEN = (
    2  # a process that was stopped or cut off is fenced once, by rights; again and again is a fault
)


@dataclass(frozen=True, slots=True)
class Rest:
    """Take the partition over again at `until`; up to `cautious_until` send one mail at a time (seconds since 1970)."""

    faults: int
    until: float
    cautious_until: float


def next_rest(policy: RestPolicy, before: Rest | None, now: float, *, fenced: bool) -> Rest:
    """What follows a fault, given the rest that the last one led to (None = the first)."""
    recent = before is not None and now - before.until < policy.calm
    faults = before.faults + 1 if before is not None and recent else 1
    seconds = policy.rests[min(faults, len(policy.rests)) - 1]
    until = now + seconds
    forgiven = fenced and faults <= FENCED_FORGIVEN
    caution = before.cautious_until if before is not None and recent else 0.0
    return Rest(faults, until, caution if forgiven else until + policy.caution)
