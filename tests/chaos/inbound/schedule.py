"""Which disturbance comes when, all from the seed; `at` counts mails that have become events, so that a slow machine plays the same run."""

import random
from dataclasses import dataclass
from enum import StrEnum

POLLERS = 2  # at the least
FIRST_SHARE, LAST_SHARE = 0.02, 0.97
FULL_RUN_MAILS = 5000
KILLS_MIN = 6
STOPS_MIN = 2
LOSSES = 3  # each of three brokers goes first once
LOSS_LAST_SHARE = 0.9  # there must be mail left to go on with


class Kind(StrEnum):
    """What is done to pollers, broker and mail server."""

    KILL = "kill"  # SIGKILL a poller; another one starts a little later
    STOP = "stop"  # SIGSTOP a poller, beyond the session timeout or not, then SIGCONT
    LEAVE = "leave"  # SIGTERM a poller
    BROKER_RESTART = "broker_restart"
    BROKER_CRASH = "broker_crash"
    BROKER_LOSS = "broker_loss"  # of three: one goes, then another one, then they come back
    IMAP_CUT = "imap_cut"  # all IMAP connections are reset, and for a while none is let in
    IMAP_STALL = "imap_stall"  # not a byte passes for a while, in no connection
    MAIL_SERVER_RESTART = "mail_server_restart"
    RENUMBER = "renumber"  # a folder gets another UIDVALIDITY while it is being polled
    RESTORE = "restore"  # the mail server forgets a folder's UIDs and numbers its mails anew, as after a restored backup


FULL_RUN = {
    Kind.KILL: 24,
    Kind.STOP: 8,
    Kind.LEAVE: 4,
    Kind.BROKER_RESTART: 2,
    Kind.BROKER_CRASH: 2,
    Kind.IMAP_CUT: 8,
    Kind.IMAP_STALL: 5,
    Kind.MAIL_SERVER_RESTART: 2,
    Kind.RENUMBER: 3,
    Kind.RESTORE: 2,
}


@dataclass(frozen=True, slots=True)
class Disturbance:
    """`pause_seconds` = until the replacement starts, the process goes on, or the server is back or lets connections in.

    At a loss it is the time without a majority; `alone_seconds` lie between the first broker and the second.
    """

    kind: Kind
    at: int
    pause_seconds: float
    alone_seconds: float = 0.0


def counts(mails: int, brokers: int = 1) -> dict[Kind, int]:
    """How often each kind comes: in small runs less, but at least once, and `KILLS_MIN` kills; of three brokers some are lost instead."""
    planned = {kind: max(1, round(count * mails / FULL_RUN_MAILS)) for kind, count in FULL_RUN.items()}
    planned |= {
        Kind.KILL: max(KILLS_MIN, planned[Kind.KILL]),
        Kind.STOP: max(STOPS_MIN, planned[Kind.STOP]),
    }
    if brokers > 1:
        planned |= {Kind.BROKER_RESTART: 0, Kind.BROKER_CRASH: 0, Kind.BROKER_LOSS: LOSSES}
    return planned


def plan_schedule(
    mails: int, seed: int, session_timeout_seconds: float, brokers: int = 1
) -> list[Disturbance]:
    """All disturbances in their order."""
    rnd = random.Random(f"{seed}:schedule")
    planned = counts(mails, brokers)
    losses = planned.pop(Kind.BROKER_LOSS, 0)
    plan = [
        Disturbance(
            kind,
            round(mails * rnd.uniform(FIRST_SHARE, LAST_SHARE)),
            _pause_seconds(rnd, kind, index, session_timeout_seconds),
        )
        for kind, count in planned.items()
        for index in range(count)
    ]
    plan += [_plan_loss(rnd, mails, (index + rnd.random()) / losses) for index in range(losses)]
    return sorted(plan, key=lambda disturbance: (disturbance.at, disturbance.kind))


def _plan_loss(rnd: random.Random, mails: int, place: float) -> Disturbance:
    """`place` between 0 and 1. Kafka misses a killed broker after 9 s, a transaction's records after 20 s, the transaction after 30 s."""
    at = round(mails * (FIRST_SHARE + (LOSS_LAST_SHARE - FIRST_SHARE) * place))
    return Disturbance(Kind.BROKER_LOSS, at, rnd.uniform(5.0, 35.0), rnd.uniform(0.0, 12.0))


def _pause_seconds(rnd: random.Random, kind: Kind, index: int, session_timeout_seconds: float) -> float:
    match kind:
        case Kind.KILL | Kind.BROKER_CRASH | Kind.BROKER_RESTART | Kind.MAIL_SERVER_RESTART:
            return rnd.uniform(0.0, 3.0)
        case Kind.STOP:  # the first one is always missed by the group, of the others two in three
            if index % 3 == 1:
                return rnd.uniform(0.5, session_timeout_seconds)
            return session_timeout_seconds + rnd.uniform(0.5, 3.0)
        case Kind.IMAP_CUT:
            return rnd.choice((0.0, rnd.uniform(0.2, 3.0)))
        case Kind.IMAP_STALL:  # shorter and longer than the deadline of a command
            return rnd.uniform(0.5, 8.0)
        case _:
            return 0.0
