"""One sender's share of one relay at work: the holder's records, put before the governor as connections, units and holds."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from postlane.core.events.relay_lease import RelayLease
from postlane.core.limits.circuit import Trip
from postlane.core.limits.permission import Answered, Ending, Hold, Ticket, TurnedAway, Unheard, Unsent
from postlane.core.limits.share import CAUSE_NO_LEASE, Slowness
from postlane.core.sharing import holder as holding
from postlane.core.sharing.allocator import Entry
from postlane.core.sharing.holder_events import (
    Demand,
    Ended,
    Heard,
    HolderEvent,
    Known,
    Leave,
    Pass,
    Refused,
    Tick,
)
from postlane.core.sharing.onlooker import Onlooker
from postlane.core.sharing.relay_terms import RelayLimits, terms_of
from postlane.core.sharing.terms import CONNECTIONS, Budget
from postlane.core.sharing.waits import Waits
from postlane.outbound.kafka_clock import KafkaClock
from postlane.outbound.shared_budgets import SharedBudgets

ABSENT_SECONDS = 30.0  # mail waited for so long without a lease: longer than a take-over by another allocator
UNANSWERED_SECONDS = 2.0  # a report is the allocator's to judge; so long its word is waited for
BUSY_SECONDS = 10.0  # so long after the last waiting mail a rate is still wanted whole
IDLE_SHARE = 0.01  # of what is left of a budget is kept in hand for the first mails after a rest
IDLE_UNITS_MAX = 20
RECENT_SECONDS = 60  # what was used in them is wanted again

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Standing:
    """A hold as it was first known here: when, in both clocks."""

    known: Known
    since: float
    steady: float


class Sessions(Protocol):
    """What a share must know and bound of its relay's sessions."""

    @property
    def sessions(self) -> int:
        """How many are open, idle and closing ones too."""
        ...

    def trim(self, sessions: int) -> None:
        """Close idle ones above so many in all."""
        ...

    def cut(self) -> None:
        """Drop all at once; attempts end as lost."""
        ...


class RelayShare:
    """See core.limits.share.Share. `limits` are the relay's, for its governor."""

    def __init__(
        self, relay: RelayLimits, name: str, write: Callable[[RelayLease], None], clock: KafkaClock
    ) -> None:
        self.terms = terms_of(relay)
        self.holder = holding.Holder(self.terms, name)
        self.onlooker = Onlooker(self.terms)
        self.round = 0
        self._sink: Sessions | None = None
        self._relay = relay
        self._write = write
        self._clock = clock
        self._steady = clock.steady
        self._asked_at = clock.steady()
        self._granted_at = self._asked_at
        self._busy_at = float("-inf")
        self._starved_at: dict[str, float] = {}
        self._passes: dict[Ticket, Pass] = {}
        self._standing: _Standing | None = None
        self._waits = Waits()
        self._absence: Hold | None = None
        self._recent: deque[tuple[int, Counter[str]]] = (
            deque()
        )  # what mails cost, by the second in which they started
        self._budgets = SharedBudgets(relay, self.terms, self.onlooker, clock)
        self.limits = self._budgets.limits(self._amount, self._in_hand)

    def connect(self, sink: Sessions) -> None:
        """The sessions to the relay are those of this sink."""
        self._sink = sink

    # For the governor

    def connections(self) -> int:
        """See Share."""
        self._asked_at = self._steady()
        return self.holder.amount(CONNECTIONS, self._asked_at)

    def trip(self) -> Trip | None:
        """See Share; a report of which the allocator has not said yet what follows counts as one only after a while."""
        standing = self._standing
        if standing is None:
            return None
        hold = standing.known.hold
        if hold is not None:
            since, until = hold.since_at.timestamp(), hold.probe_at.timestamp()
        elif self._steady() - standing.steady > UNANSWERED_SECONDS:
            since, until = standing.since, standing.since + self.terms.hold_seconds
        else:
            return None
        return Trip(cause=standing.known.cause, reason=standing.known.reason, since=since, until=until)

    def may_probe(self) -> bool:
        """See Share."""
        holder = self.holder
        return (
            holder.held is not None
            and holder.probed < holder.lease.number
            and holder.amount(CONNECTIONS, self._asked_at) > 0
        )

    def absence(self, now: float) -> Hold | None:
        """See Share."""
        waited = self._steady() - self._granted_at
        if waited < ABSENT_SECONDS:
            self._absence = None
            return None
        before = self._absence
        if before is None or before.until is None or now >= before.until:
            self._absence = Hold(
                relay=self.terms.relay,
                cause=CAUSE_NO_LEASE,
                reason=f"relay {self.terms.relay}: {self._lack()}",
                since=now - waited if before is None else before.since,
                until=now + self.terms.lease_seconds,
            )
        return self._absence

    def slowness(self, now: float) -> Slowness | None:
        """See Share."""
        since = self._waits.told_since
        if since is None:
            return None
        lack = self._lack() if self.holder.amount(CONNECTIONS, self._steady()) == 0 else ""
        return Slowness(now - (self._steady() - since), lack)

    def _lack(self) -> str:
        if self._steady() >= self.holder.lease.start_until:
            return "no sender allots its limits: what this one asked in mail.relays is not answered yet"
        missing = " and ".join(self._missing(self._steady())) or CONNECTIONS
        return f"other senders have all of its {missing}, or the sender that allots them has another configuration of it"

    def _missing(self, now: float) -> list[str]:
        """What is leased or spent by its name, and nothing of it is ours, although nobody says that it is used up."""
        capacities = [one.name for one in self.terms.capacities if self.holder.amount(one.name, now) == 0]
        budgets = [
            one.name
            for one in self.terms.budgets
            if self.holder.purse.has(one.name, now) == 0 and self._budgets.left(one) > 0
        ]
        return capacities + budgets

    def started(self, ticket: Ticket) -> None:
        """See Share."""
        self._waits.started(self._asked_at)
        costs = self._budgets.costs(ticket.recipients)
        leave = holding.start(self.holder, costs, self._asked_at)
        assert isinstance(leave, Pass), f"the governor let a mail start for which there is no leave: {leave}"
        self._passes[ticket] = leave
        second = int(self._asked_at)
        if not self._recent or self._recent[-1][0] != second:
            self._recent.append((second, Counter()))
        self._recent[-1][1].update(costs)

    def ended(self, ticket: Ticket, ending: Ending) -> None:
        """See Share."""
        leave = self._passes.pop(ticket)
        match ending:
            case TurnedAway(of_all=True):
                refusal = ending.refusal
                self._step(
                    Refused(
                        leave=leave,
                        counted=ending.counted,
                        cause=refusal.cause,
                        reason=refusal.reason,
                        wait_seconds=refusal.wait_seconds,
                    )
                )
            case TurnedAway():
                self._step(Ended(leave, counted=ending.counted, answered=False))
            case Answered():
                self._step(Ended(leave, counted=True, answered=True))
            case Unheard() | Unsent():
                self._step(Ended(leave, counted=isinstance(ending, Unheard), answered=False))

    # For the loop

    def hear(self, entries: Sequence[Entry]) -> None:
        """Committed records of the relay, in their order."""
        now = self._steady()
        for entry in entries:
            self.onlooker.hear(entry, now)
        self._step(Heard(tuple(entries)))

    def tick(self, waiting: int, *, flowing: bool = False) -> None:
        """Some time has passed, and so many mails could go by this relay at once; `flowing`: others of its routes go by other relays."""
        now = self._steady()
        self._waits.tick(now, waiting=waiting > 0)
        if flowing and self.holder.held is not None:
            waiting = max(1, waiting)  # else nobody would ask to probe it while another relay suffices
        if waiting:
            self._busy_at = now
        if not waiting or self.holder.held is not None or not self._missing(now):
            self._granted_at = now
        if self._sink is not None:
            self._bound(self._sink, now)
        self._step(self._demand(waiting, now))
        self._step(Tick())

    def leave(self) -> None:
        """The last attempt is over and the sessions are closed: others may have what is left."""
        self._step(self._demand(0, self._steady()))
        self._step(Leave())

    def _bound(self, sink: Sessions, now: float) -> None:
        """Idle sessions are given up that somebody else may have now, and with the lease's last second every other one."""
        sink.trim(self.holder.amount(CONNECTIONS, now))
        if self.holder.in_flight and now >= self.holder.lease.start_until + self.terms.attempt_seconds_max:
            log.warning("lease_ended_in_flight", relay=self.terms.relay, mails=self.holder.in_flight)
            sink.cut()

    def _step(self, event: HolderEvent) -> None:
        if self._sink is not None and not isinstance(event, Demand):
            # A request may go out with any event, and others get what it does not name as used.
            self.holder.demand = replace(self.holder.demand, sessions=self._sink.sessions)
        for lease in holding.step(self.holder, event, self._steady()):
            self._write(lease)
        known = self.holder.held
        before = self._standing
        if known is None:
            self._standing = None
        elif before is None:
            self.round += 1
            self._standing = _Standing(known, self._clock(), self._steady())
        else:
            before.known = known

    # What is wanted

    def _demand(self, waiting: int, now: float) -> Demand:
        busy = now - self._busy_at < BUSY_SECONDS
        connections = min(self._relay.connections, self.holder.in_flight + waiting)
        # Who had none of a rate waits for a period before it can use it: a lone sender keeps what nobody else asks for.
        keeps = busy or len(self.onlooker.books.live(now)) <= 1
        rates = {
            one.name: one.amount if keeps else 0 for one in self.terms.capacities if one.name != CONNECTIONS
        }
        while self._recent and self._recent[0][0] < now - RECENT_SECONDS:
            self._recent.popleft()
        return Demand(
            capacities={CONNECTIONS: connections} | rates,
            budgets={budget.name: self._wanted(budget, waiting, now) for budget in self.terms.budgets},
            sessions=0 if self._sink is None else self._sink.sessions,
        )

    def _wanted(self, budget: Budget, waiting: int, now: float) -> int:
        """As much as may be had while mail waits for more than is in hand; else about what a lease's time has lately used.

        A mail to many people waits for more units than mails are waiting. Towards a budget's end nothing is kept in hand for later.
        """
        most = self._budgets.parcel_max(budget)
        if self._budgets.starved(budget.name):
            self._starved_at[budget.name] = now
        starved = waiting and now - self._starved_at.get(budget.name, float("-inf")) < BUSY_SECONDS
        if starved or waiting > self.holder.purse.has(budget.name, now):
            return most
        recent = sum(costs[budget.name] for _, costs in self._recent)
        idle = max(0, min(IDLE_UNITS_MAX, int(self._budgets.left(budget) * IDLE_SHARE)))
        return min(most, idle + round(recent * self.terms.lease_seconds / RECENT_SECONDS))

    def _amount(self, capacity: str) -> int:
        return self.holder.amount(capacity, self._asked_at)

    def _in_hand(self, budget: str) -> int:
        return self.holder.purse.has(budget, self._asked_at)
