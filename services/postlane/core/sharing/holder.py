"""One sender's side of a shared relay: `step(holder, event, now)`, and `start` for every mail.

The sender starts a mail when its newest lease has room, its purse has the units, and no hold is known to it. Everything it may do was granted in
answer to a request of its own and is counted from the moment that it composed that request, on its own monotonic clock (`now`): a sender
that slept, was cut off or reads late finds its lease expired. Nothing read, nothing granted.

Which hold is in force: a report of another sender holds at once. It is over when an allocator says so that had read the report:
records of allocators name the offset up to which they had read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from postlane.core.events.relay_lease import (
    Amount,
    LeaseGrant,
    LeaseRequest,
    Need,
    RelayLease,
    RelayReport,
    RelaySnapshot,
    ReportOutcome,
    body_of,
    lease_of,
)
from postlane.core.sharing.allocator import Entry
from postlane.core.sharing.books import amount_of
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
    Wait,
)
from postlane.core.sharing.purse import Pile, Purse
from postlane.core.sharing.terms import CONNECTIONS, Terms


@dataclass(frozen=True, slots=True)
class _Lease:
    number: int
    amounts: Mapping[str, int]
    start_until: float
    probe: bool


@dataclass(slots=True)
class _Asking:
    """The newest request: when, what for, and whether it was answered."""

    number: int = 0
    at: float = float("-inf")
    answered: bool = True
    lacks: Mapping[str, int] = field(default_factory=dict)
    using: int = 0
    sent_at: dict[int, float] = field(default_factory=dict)


class Holder:
    """`name` must be new with every start of the process; records are read from the partition's end at that time."""

    def __init__(self, terms: Terms, name: str) -> None:
        self.terms = terms
        self.name = name
        self.in_flight = 0
        self.held: Known | None = None
        self.purse = Purse()
        self.demand = Demand(capacities={}, budgets={})
        self.lease = _Lease(0, {}, float("-inf"), probe=False)
        self.asking = _Asking()
        self.leaving = False
        self.urgent = False  # the allocator or another sender waits for our word
        self.neighbour_lacks = False
        self.heard_offset = -1
        self.report_offset = -1  # of the last report that holds
        self.probed = 0  # the grant whose probe was started
        self.reports = 0
        self.report: RelayReport | None = None  # until it is read back
        self.reported_at = float("-inf")

    def amount(self, capacity: str, now: float) -> int:
        """How much of a capacity may be in use now for mails that start now; of a rate, units per hour."""
        if now >= self.lease.start_until or self.leaving:
            return 0
        if self.held is not None and not self._probing():
            return 0
        return self.lease.amounts.get(capacity, 0)

    def _probing(self) -> bool:
        return self.lease.probe and self.report is None

    def lacks(self, now: float) -> dict[str, int]:
        """What it wants and has not: by capacity and by budget."""
        later = now + self.terms.renew_seconds  # what expires before the next answer is as good as gone
        capacities = {
            part.name: self.demand.capacities.get(part.name, 0) - self.amount(part.name, now)
            for part in self.terms.capacities
        }
        budgets = {
            part.name: self.demand.budgets.get(part.name, 0) - self.purse.has(part.name, later)
            for part in self.terms.budgets
        }
        return {name: lack for name, lack in (capacities | budgets).items() if lack > 0}

    def using(self) -> int:
        """Connections that are occupied."""
        return max(self.in_flight, self.demand.sessions)


def start(holder: Holder, costs: Mapping[str, int], now: float) -> Pass | Wait:
    """Start a mail that costs so many units of each budget, or say what it waits for. The caller paces rates by `amount`."""
    for capacity in holder.terms.capacities:
        occupied = holder.in_flight if capacity.name == CONNECTIONS else 0
        if holder.amount(capacity.name, now) <= occupied:
            return Wait(holder.held, capacity.name)
    if now >= holder.lease.start_until:
        return Wait(holder.held, None)
    probe = holder.held is not None
    if probe and (holder.probed >= holder.lease.number or not holder.lease.probe):
        return Wait(holder.held, None)
    charged = {part.name: costs.get(part.name, 0) for part in holder.terms.budgets}
    draws = holder.purse.take(charged, now)
    if draws is None:
        short = next(name for name, units in charged.items() if holder.purse.has(name, now) < units)
        return Wait(holder.held, short)
    if probe:
        holder.probed = holder.lease.number
    holder.in_flight += 1
    return Pass(holder.lease.number, probe, draws)


def step(holder: Holder, event: HolderEvent, now: float) -> list[RelayLease]:
    """Apply one event and return the records to be written; whether that succeeds need not be told."""
    match event:
        case Demand():
            holder.demand = event
        case Heard():
            for entry in event.entries:
                _hear(holder, entry, now)
        case Ended():
            _ended(holder, event.leave, counted=event.counted, now=now)
            if event.leave.probe and event.answered:
                _report(
                    holder,
                    RelayReport(
                        number=0, outcome=ReportOutcome.ANSWERED, grant=event.leave.grant, probe=True
                    ),
                )
        case Refused():
            _refused(holder, event, now)
        case Tick():
            pass
        case Leave():
            holder.leaving, holder.urgent = True, True
        case _:
            assert_never(event)
    return _write(holder, now)


def _ended(holder: Holder, leave: Pass, *, counted: bool, now: float) -> None:
    holder.in_flight -= 1
    if not counted:
        holder.purse.put_back(leave.draws, now)


def _refused(holder: Holder, event: Refused, now: float) -> None:
    _ended(holder, event.leave, counted=event.counted, now=now)
    if holder.held is None or event.leave.probe or event.wait_seconds is not None:
        holder.held = Known(event.cause, event.reason, None)
        said = RelayReport(
            number=0,
            outcome=ReportOutcome.REFUSED,
            grant=event.leave.grant,
            probe=event.leave.probe,
            cause=event.cause,
            reason=event.reason,
            wait_seconds=event.wait_seconds,
        )
        _report(holder, said)


def _report(holder: Holder, said: RelayReport) -> None:
    holder.reports += 1
    holder.reported_at = float("-inf")
    holder.report = replace(said, number=holder.reports)


def _hear(holder: Holder, entry: Entry, now: float) -> None:
    if entry.offset < holder.heard_offset:
        holder.report_offset = (
            -1
        )  # the topic was made anew: what stands in it now knows nothing of the reports before
    holder.heard_offset = entry.offset
    body, own = body_of(entry.lease), entry.lease.written_by == holder.name
    match body:
        case RelayReport():
            _hear_report(holder, body, entry.offset, own=own)
        case LeaseGrant():
            _hear_hold(holder, body)
            if body.holder == holder.name:
                _hear_grant(holder, body, now)
        case RelaySnapshot():
            _hear_hold(holder, body)
        case LeaseRequest():
            wanted = amount_of(body.wants, CONNECTIONS)
            if not own and wanted > amount_of(body.using, CONNECTIONS):
                holder.neighbour_lacks = True
        case None:
            pass
        case _:
            assert_never(body)


def _hear_report(holder: Holder, report: RelayReport, offset: int, *, own: bool) -> None:
    if report.outcome is ReportOutcome.REFUSED:
        holder.report_offset = offset
        holder.held = Known(report.cause, report.reason, None)
        holder.lease = replace(holder.lease, probe=False)  # it was granted before this was known
    if own and holder.report is not None and report.number == holder.report.number:
        holder.report = None


def _hear_hold(holder: Holder, said: LeaseGrant | RelaySnapshot) -> None:
    """Whether the relay is held, from somebody who had read the last report that we know of; our own must be among them."""
    if said.read_to <= holder.report_offset or (
        holder.report is not None and holder.report.outcome is ReportOutcome.REFUSED
    ):
        return
    if said.hold is None:
        holder.urgent |= holder.held is not None
        holder.held = None
    else:
        holder.held = Known(said.hold.cause, said.hold.reason, said.hold)


def _hear_grant(holder: Holder, grant: LeaseGrant, now: float) -> None:
    sent_at = holder.asking.sent_at.get(grant.request)
    holder.purse.heard(grant.request, now, holder.terms.lease_seconds)
    if grant.request >= holder.asking.number:
        holder.asking.answered = True
    if sent_at is None:
        return  # of a request so old that nothing of it can be left
    amounts = {part.name: part.amount for part in grant.amounts}
    holder.urgent |= any(amounts.get(name, 0) < had for name, had in holder.lease.amounts.items())
    attempt = holder.terms.attempt_seconds_max
    current = grant.read_to > holder.report_offset
    holder.lease = _Lease(
        grant.number, amounts, sent_at + grant.lease_seconds - attempt, grant.probe and current
    )
    for parcel in grant.parcels:
        start_until = sent_at + parcel.valid_seconds - attempt
        holder.purse.put(Pile(grant.number, parcel.budget, parcel.units, start_until))


def _write(holder: Holder, now: float) -> list[RelayLease]:
    written: list[RelayLease] = []
    if holder.report is not None and now >= holder.reported_at + holder.terms.eager_seconds:
        holder.reported_at = now
        written.append(lease_of(holder.terms.relay, holder.name, holder.report))
    wants = {} if holder.leaving else holder.demand.budgets
    holder.purse.tidy(wants, now)
    if _must_ask(holder, now):
        written.append(lease_of(holder.terms.relay, holder.name, _ask(holder, now)))
    return written


def _must_ask(holder: Holder, now: float) -> bool:
    asking, terms = holder.asking, holder.terms
    since = now - asking.at
    if holder.leaving:
        return holder.urgent
    if since >= terms.renew_seconds:
        return True
    lacks = holder.lacks(now)
    # Of a used-up budget nothing more comes by asking; connections and rates come as others give them back.
    in_vain = asking.answered and lacks == asking.lacks and not any(c.name in lacks for c in terms.capacities)
    if since >= terms.eager_seconds and (
        (lacks and not in_vain) or holder.neighbour_lacks or holder.purse.owes()
    ):
        return True
    released = asking.using > max(holder.using(), holder.lease.amounts.get(CONNECTIONS, 0))
    changed = any(lack > asking.lacks.get(name, 0) for name, lack in lacks.items()) or (
        asking.answered and lacks != asking.lacks and bool(lacks)
    )
    return since >= terms.ask_seconds and (holder.urgent or released or changed)


def _ask(holder: Holder, now: float) -> LeaseRequest:
    asking, terms = holder.asking, holder.terms
    asking.number += 1
    asking.at, asking.answered, asking.lacks, asking.using = now, False, holder.lacks(now), holder.using()
    asking.sent_at = {n: at for n, at in asking.sent_at.items() if at + 2 * terms.lease_seconds > now}
    asking.sent_at[asking.number] = now
    holder.urgent = holder.neighbour_lacks = False
    wants = {} if holder.leaving else holder.demand.capacities
    later = now + terms.renew_seconds
    return LeaseRequest(
        number=asking.number,
        seen=holder.lease.number,
        wants=tuple(Amount(part.name, wants.get(part.name, 0)) for part in terms.capacities),
        using=(Amount(CONNECTIONS, asking.using),),
        needs=()
        if holder.leaving
        else tuple(
            Need(
                budget=part.name,
                units=asking.lacks.get(part.name, 0),
                has=holder.purse.has(part.name, later),
            )
            for part in terms.budgets
        ),
        returned=holder.purse.returned(asking.number),
        leaving=holder.leaving,
    )
