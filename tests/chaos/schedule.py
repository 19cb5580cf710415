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
    BROKER_LOSS = "broker_loss"  # of three: one goes, then another one, then they come back
    REPLAY = "replay"  # the cure, then `postlane dlq replay`


@dataclass(frozen=True, slots=True)
class Disturbance:
    """`pause_seconds` = until the replacement starts, the process goes on, or the broker is back.

    At a loss it is the time without a majority; `alone_seconds` lie between the first broker and the second, each time.
    """

    kind: Kind
    at: int
    pause_seconds: float
    alone_seconds: float = 0.0


SENDERS = 2  # at the least
FIRST_SHARE, LAST_SHARE = 0.02, 0.97
REPLAY_SHARES = (0.45, 0.85)
LOSS_LAST_SHARE = 0.9  # there must be mail left to go on with
SMALL_RUN_MAILS = 5000  # below it the least of everything


def counts(mails: int, brokers: int = 1) -> dict[Kind, int]:
    """How often each kind comes: 24 kills, 6 stops and 4 broker restarts, or of three brokers 6 losses, in 20,000 mails."""
    size = max(1, round(mails / SMALL_RUN_MAILS))
    alone = brokers == 1
    return {
        Kind.KILL: 6 * size,
        Kind.STOP: size + (2 if size > 1 else 1),
        Kind.JOIN: 2 * size,
        Kind.LEAVE: 2 * size,
        Kind.BROKER_RESTART: (1 if size == 1 else 2) if alone else 0,
        Kind.BROKER_CRASH: (1 if size == 1 else 2) if alone else 0,
        Kind.BROKER_LOSS: 0
        if alone
        else brokers * (1 if size == 1 else 2),  # each broker goes first as often
    }


def plan_schedule(mails: int, seed: int, brokers: int = 1) -> list[Disturbance]:
    """All disturbances in their order."""
    rnd = random.Random(f"{seed}:schedule")
    planned = counts(mails, brokers)
    losses = planned.pop(Kind.BROKER_LOSS)
    plan = [
        Disturbance(kind, round(mails * rnd.uniform(FIRST_SHARE, LAST_SHARE)), _pause_seconds(rnd, kind))
        for kind, count in planned.items()
        for _ in range(count)
    ]
    plan += [Disturbance(Kind.REPLAY, round(mails * share), 0.0) for share in REPLAY_SHARES]
    plan += [_plan_loss(rnd, mails, (index + rnd.random()) / losses) for index in range(losses)]
    return sorted(plan, key=lambda disturbance: (disturbance.at, disturbance.kind))


def _plan_loss(rnd: random.Random, mails: int, place: float) -> Disturbance:
    """`place` between 0 and 1. Kafka misses a killed broker after 9 s, a commit gives up after 20 s, a transaction after 30 s."""
    share = FIRST_SHARE + (LOSS_LAST_SHARE - FIRST_SHARE) * place
    return Disturbance(
        Kind.BROKER_LOSS, round(mails * share), rnd.uniform(16.0, 40.0), rnd.uniform(0.0, 15.0)
    )


def _pause_seconds(rnd: random.Random, kind: Kind) -> float:
    match kind:
        case Kind.KILL | Kind.BROKER_CRASH | Kind.BROKER_RESTART:
            return rnd.uniform(0.0, 3.0)
        case Kind.STOP:
            return rnd.uniform(0.5, 6.0)  # on top of the session timeout
        case _:
            return 0.0
