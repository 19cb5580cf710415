"""Which disturbance comes when, all from the seed; `at` counts mails that the relay has taken, so that a slow machine plays the same run."""

import random
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is done to senders, broker and dead letters."""

    KILL = "kill"  # SIGKILL a sender; another one starts a little later
    STOP = "stop"  # SIGSTOP a sender beyond the session timeout, then SIGCONT
    JOIN = "join"  # one sender more
    LEAVE = "leave"  # SIGTERM a sender
    BROKER_RESTART = "broker_restart"
    BROKER_CRASH = "broker_crash"
    REPLAY = "replay"  # the cure, then `postlane dlq replay`


@dataclass(frozen=True, slots=True)
class Disturbance:
    """`pause_seconds` = until the replacement starts, the process goes on, or the broker is back."""

    kind: Kind
    at: int
    pause_seconds: float


FIRST_SHARE, LAST_SHARE = 0.02, 0.97
REPLAY_SHARES = (0.45, 0.85)
SMALL_RUN_MAILS = 5000  # below it the least of everything


def counts(mails: int) -> dict[Kind, int]:
    """How often each kind comes: 24 kills, 6 stops and 4 broker restarts in 20,000 mails."""
    size = max(1, round(mails / SMALL_RUN_MAILS))
    return {
        Kind.KILL: 6 * size,
        Kind.STOP: size + (2 if size > 1 else 1),
        Kind.JOIN: 2 * size,
        Kind.LEAVE: 2 * size,
        Kind.BROKER_RESTART: 1 if size == 1 else 2,
        Kind.BROKER_CRASH: 1 if size == 1 else 2,
    }


def plan_schedule(mails: int, seed: int) -> list[Disturbance]:
    """All disturbances in their order."""
    rnd = random.Random(f"{seed}:schedule")
    plan = [
        Disturbance(kind, round(mails * rnd.uniform(FIRST_SHARE, LAST_SHARE)), _pause_seconds(rnd, kind))
        for kind, count in counts(mails).items()
        for _ in range(count)
    ]
    plan += [Disturbance(Kind.REPLAY, round(mails * share), 0.0) for share in REPLAY_SHARES]
    return sorted(plan, key=lambda disturbance: (disturbance.at, disturbance.kind))


def _pause_seconds(rnd: random.Random, kind: Kind) -> float:
    match kind:
        case Kind.KILL | Kind.BROKER_CRASH | Kind.BROKER_RESTART:
            return rnd.uniform(0.0, 3.0)
        case Kind.STOP:
            return rnd.uniform(0.5, 6.0)  # on top of the session timeout
        case _:
            return 0.0
