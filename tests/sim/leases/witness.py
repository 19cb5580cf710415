"""The named invariants of sharing by leases, checked from outside the core; each raises Violation.

BudgetNeverExceeded     in no window does the relay count more units than the limit, over all senders, in true time
CapacityNeverExceeded   at no moment are more attempts open than connections, nor more of a capacity leased out than there is
ExpiredNeverUsed        a start and its attempt lie within the lease and within the units' validity, counted from the request
QuotaHoldsAll           who has read a report starts nothing (but a granted probe) until an allocator that knew it says that it is over; who has
                        not, nothing a lease after it; no allocator forgets a refusal that no probe was answered after
ProbeIsSingle           one start per probe's grant, and never two probes at once
NothingWithoutReading   every start rests on a committed grant that the sender has read and that answers a request of this very process;
                        every committed grant was decided by somebody who had read the partition as it stood when he took over
CountersSurviveRestart  an allocator that takes office knows of at least all units that were granted and not returned
OneTimeForAll           whatever a sender's own clock shows, it counts by the brokers' time, as closely as the records that it read back tell it
LoneSenderGetsAll       a lone busy sender has every connection, and units or all units spent, two leases after the others fell silent (in sim.leases.world)
"""

from collections import defaultdict
from dataclasses import dataclass, field

from postlane.core.events.relay_lease import LeaseGrant, RelaySnapshot, ReportOutcome
from postlane.core.sharing.allocator import Allocator, Entry
from postlane.core.sharing.holder_events import Pass
from postlane.core.sharing.terms import CONNECTIONS, DRIFT, FREE_FACTOR, Terms
from postlane.core.sharing.windows import Span
from sim.part import Violation


@dataclass(slots=True)
class Attempt:
    """A mail at the relay: `counted_at` is when the relay counts it, `until` when it lets the connection go."""

    leave: Pass
    costs: dict[str, int]
    begun: float
    until: float
    counted_at: float
    refused: bool


@dataclass(slots=True)
class Memory:
    """What one sender process has done and read, as its environment knows."""

    composed: dict[int, float] = field(default_factory=dict)  # requests, by its own clock
    grants: dict[int, LeaseGrant] = field(default_factory=dict)
    refused_at: int = -1  # offset of the last report that it read
    free_from: int = -1  # up to where an allocator that said "no hold" had read


class TimeKept:
    """How far off a sender's time may be: by what its records left open, what brokers differ, and how its clock drifts from one to the next."""

    def __init__(self, now: float) -> None:
        self._read_at = now
        self._first = self._widest = self._gap = 0.0

    def read_back(self, asked_at: float, now: float) -> None:
        width = now - asked_at
        self._first = self._first or width / 2
        self._widest, self._gap = max(self._widest, width), max(self._gap, now - self._read_at)
        self._read_at = now

    def most(self, margin: float, now: float) -> float:
        return self._first + self._widest + 2 * margin + 2 * DRIFT * max(self._gap, now - self._read_at)


class Witness:
    """Sees everything in true time."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.attempts: list[Attempt] = []
        self.open: list[Attempt] = []
        self.probes: set[int] = set()
        self.refusals: list[tuple[int, float]] = []  # where reports stand, and since when
        self.told: set[tuple[str, int]] = set()  # by sender and number
        self.answered_at = -1  # where the last answer to a probe stands
        self.released_to = -1  # an allocator has committed "no hold", having read to here

    # What happens

    def wrote(self, entry: Entry, now: float) -> None:
        """A sender's record is in the partition."""
        report, writer = entry.lease.report, entry.lease.written_by
        if report is None or (writer, report.number) in self.told:
            return
        self.told.add((writer, report.number))
        if report.outcome is ReportOutcome.REFUSED:
            self.refusals.append((entry.offset, now))
        else:
            self.answered_at = entry.offset

    def committed(self, said: LeaseGrant | RelaySnapshot, end_at_take_over: int) -> None:
        """An allocator's record is durable."""
        if said.read_to < end_at_take_over:
            raise Violation(
                f"NothingWithoutReading: {said.number} was decided at {said.read_to}, end was {end_at_take_over}"
            )
        if said.hold is None:
            last = max((offset for offset, _ in self.refusals if offset < said.read_to), default=-1)
            if last > self.answered_at:
                raise Violation(f"QuotaHoldsAll: the refusal at {last} is forgotten by {said.number}")
            self.released_to = max(self.released_to, said.read_to)

    def heard(self, memory: Memory, name: str, entry: Entry) -> None:
        """A sender has read a record."""
        lease = entry.lease
        for said in (lease.grant, lease.snapshot):
            if said is not None and said.hold is None:
                memory.free_from = max(memory.free_from, said.read_to)
        if lease.grant is not None and lease.grant.holder == name:
            memory.grants[lease.grant.number] = lease.grant
        if lease.report is not None and lease.report.outcome is ReportOutcome.REFUSED:
            memory.refused_at = entry.offset

    def starts(self, memory: Memory, attempt: Attempt, clock: float) -> None:
        """A mail starts; `clock` is the sender's own."""
        leave, now = attempt.leave, attempt.begun
        grant = memory.grants.get(leave.grant)
        if grant is None or grant.request not in memory.composed:
            raise Violation(f"NothingWithoutReading: a mail starts under {leave.grant}, which was never read")
        self._check_expiry(memory, attempt, grant, clock)
        self._check_hold(memory, leave, now)
        self.open = [other for other in self.open if other.until > now]
        if leave.probe:
            probing = any(other.leave.probe for other in self.open)
            if probing or leave.grant in self.probes or not grant.probe:
                raise Violation(f"ProbeIsSingle: a second probe starts under {leave.grant} at {now:.2f}")
            self.probes.add(leave.grant)
        self.open.append(attempt)
        self.attempts.append(attempt)
        connections = next(part.amount for part in self.terms.capacities if part.name == CONNECTIONS)
        if len(self.open) > connections:
            raise Violation(
                f"CapacityNeverExceeded: {len(self.open)} of {connections} connections at {now:.2f}"
            )

    def _check_expiry(self, memory: Memory, attempt: Attempt, grant: LeaseGrant, clock: float) -> None:
        age = clock - memory.composed[grant.request]
        attempt_seconds = self.terms.attempt_seconds_max
        if age + attempt_seconds > grant.lease_seconds:
            raise Violation(f"ExpiredNeverUsed: a mail starts {age:.2f} s after the request of its lease")
        for draw in attempt.leave.draws:
            source = memory.grants.get(draw.grant)
            if source is None:
                raise Violation(f"NothingWithoutReading: units of grant {draw.grant} were never read")
            valid = max(part.valid_seconds for part in source.parcels if part.budget == draw.budget)
            if clock - memory.composed[source.request] + attempt_seconds > valid:
                raise Violation(f"ExpiredNeverUsed: units of grant {draw.grant} are spent too late")

    def _check_hold(self, memory: Memory, leave: Pass, now: float) -> None:
        if leave.probe:
            return
        if memory.refused_at >= memory.free_from:
            raise Violation(f"QuotaHoldsAll: a mail starts after a refusal was read at {memory.refused_at}")
        bound = self.terms.lease_seconds * FREE_FACTOR
        for offset, at in self.refusals:
            if offset >= self.released_to and now > at + bound:
                raise Violation(f"QuotaHoldsAll: a mail starts {now - at:.1f} s after a refusal")

    def leased(self, amounts: dict[str, int], now: float) -> None:
        """So much of each capacity all senders together may use at this moment."""
        for capacity in self.terms.capacities:
            if amounts.get(capacity.name, 0) > capacity.amount:
                raise Violation(
                    f"CapacityNeverExceeded: {amounts[capacity.name]} of {capacity.amount} {capacity.name} "
                    f"are leased at {now:.2f}"
                )

    # What has happened

    def check_budgets(self) -> None:
        """BudgetNeverExceeded, over everything that the relay counted."""
        for budget in self.terms.budgets:
            counted = sorted(
                (attempt.counted_at, attempt.costs.get(budget.name, 0))
                for attempt in self.attempts
                if not attempt.refused
            )
            window = budget.window
            if not window.reach_seconds:
                spans: defaultdict[Span, int] = defaultdict(int)
                for at, units in counted:
                    spans[window.span(at)] += units
                worst = max(spans.values(), default=0)
            else:
                worst, inside, first = 0, 0, 0
                for at, units in counted:
                    inside += units
                    while counted[first][0] <= at - window.length_seconds:
                        inside -= counted[first][1]
                        first += 1
                    worst = max(worst, inside)
            if worst > budget.limit:
                raise Violation(f"BudgetNeverExceeded: {worst} of {budget.limit} units of {budget.name}")

    def check_counters(self, allocator: Allocator, entries: tuple[Entry, ...], now: float) -> None:
        """CountersSurviveRestart: `entries` is everything that was ever committed."""
        least = _unspendable(entries)
        for budget in self.terms.budgets:
            for (name, span), units in least.items():
                over = span.ends + budget.window.reach_seconds + self.terms.free_seconds < now
                known = allocator.books.tallies.get((name, span), 0)
                if name == budget.name and not over and known < units:
                    raise Violation(
                        f"CountersSurviveRestart: {known} of {units} units of {name} are known at {now:.1f}"
                    )

    def tells_time(self, kept: TimeKept, told: float, now: float) -> None:
        """OneTimeForAll."""
        if abs(told - now) > kept.most(self.terms.clock_margin_seconds, now):
            raise Violation(
                f"OneTimeForAll: a sender is {told - now:.1f} s ahead of the brokers at {now:.2f}"
            )

    def check_no_leak(self, allocator: Allocator, entries: tuple[Entry, ...]) -> None:
        """LoneSenderGetsAll: an allocator with nothing in flight counts no unit that nobody was granted."""
        granted: defaultdict[tuple[str, Span], int] = defaultdict(int)
        for entry in entries:
            for part in () if entry.lease.grant is None else entry.lease.grant.parcels:
                span = Span(int(part.starts_at.timestamp()), int(part.ends_at.timestamp()))
                granted[part.budget, span] += part.units
        for key, units in allocator.books.tallies.items():
            if units > granted[key]:
                raise Violation(
                    f"LoneSenderGetsAll: {units} units of {key[0]} count, granted were {granted[key]}"
                )


def _unspendable(entries: tuple[Entry, ...]) -> dict[tuple[str, Span], int]:
    """The units of each budget and span that were granted and never returned."""
    granted: dict[tuple[int, str], tuple[str, Span, int]] = {}
    returned: defaultdict[tuple[int, str], int] = defaultdict(int)
    for entry in entries:
        grant, request = entry.lease.grant, entry.lease.request
        for part in () if grant is None else grant.parcels:
            assert grant is not None
            span = Span(int(part.starts_at.timestamp()), int(part.ends_at.timestamp()))
            granted[grant.number, part.budget] = grant.holder, span, part.units
        for back in () if request is None else request.returned:
            key = back.grant, back.budget
            if key in granted and granted[key][0] == entry.lease.written_by:
                returned[key] = max(returned[key], min(back.units, granted[key][2]))
    least: defaultdict[tuple[str, Span], int] = defaultdict(int)
    for (grant_number, budget), (_, span, units) in granted.items():
        least[budget, span] += units - returned[grant_number, budget]
    return least
