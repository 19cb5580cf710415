"""What one holder is granted, as far as the books allow."""

from postlane.core.events.relay_lease import Amount, LeaseGrant, LeaseRequest, Parcel
from postlane.core.instants import moment
from postlane.core.sharing.books import Books
from postlane.core.sharing.broker_clock import BrokerClock
from postlane.core.sharing.fair_shares import fair_shares
from postlane.core.sharing.terms import CONNECTIONS, DRIFT, Budget, Capacity
from postlane.core.sharing.windows import Span


def decide_grant(books: Books, clock: BrokerClock, holder: str, read_to: int, now: float) -> LeaseGrant:
    """Answer a holder's request: max-min fair among those who ask, never more than is free."""
    live = books.live(now)
    probe = books.hold is not None and _may_probe(books, clock, holder, now)
    parcels: tuple[Parcel, ...] = ()
    amounts: tuple[Amount, ...] = ()
    if holder in live and (books.hold is None or probe):
        parcels = tuple(
            parcel
            for budget in books.terms.budgets
            if (parcel := _parcel(books, clock, budget, holder, now)) is not None
        )
        amounts = tuple(
            Amount(capacity.name, _amount(books, capacity, holder, now, probe=probe))
            for capacity in books.terms.capacities
        )
    if probe and not _can_pay(books, live[holder], parcels):
        probe, parcels, amounts = False, (), ()
    return LeaseGrant(
        number=books.number + 1,
        holder=holder,
        request=live[holder].number if holder in live else _asked(books, holder),
        read_to=read_to,
        lease_seconds=books.terms.lease_seconds,
        amounts=amounts,
        parcels=parcels,
        probe=probe,
        hold=books.hold,
    )


def _asked(books: Books, holder: str) -> int:
    request = books.holders[holder].request
    return 0 if request is None else request.number


def _may_probe(books: Books, clock: BrokerClock, holder: str, now: float) -> bool:
    """One holder at a time, when the wait is over and the others leave a place; who probes may go on, one mail after another."""
    earliest = clock.earliest(now)
    probed = books.probe is not None and books.probe.holder != holder
    if books.hold is None or probed or earliest is None or holder not in books.live(now):
        return False
    return (
        earliest >= books.hold.probe_at.timestamp()
        and bool(books.terms.capacities)
        and all(
            books.holders[holder].want(capacity.name) > 0
            and books.free(capacity.name, capacity.amount, holder, now) > 0
            for capacity in books.terms.capacities
        )
    )


def _can_pay(books: Books, request: LeaseRequest, parcels: tuple[Parcel, ...]) -> bool:
    has = {need.budget: need.has for need in request.needs}
    for parcel in parcels:
        has[parcel.budget] = has.get(parcel.budget, 0) + parcel.units
    return all(has.get(budget.name, 0) > 0 for budget in books.terms.budgets)


def _amount(books: Books, capacity: Capacity, holder: str, now: float, *, probe: bool) -> int:
    """Who probes has one connection, and of a rate not so little that its one mail would have to wait for long."""
    if not probe:
        return _share(books, capacity, holder, now)
    return 1 if capacity.name == CONNECTIONS else max(1, _share(books, capacity, holder, now))


def _share(books: Books, capacity: Capacity, holder: str, now: float) -> int:
    """The fair share, and of what nobody wants an even part, so that an idle sender has a place when its first mail comes."""
    terms, live = books.terms, books.live(now)
    turn = int(now // capacity.turn_seconds(terms.lease_seconds))
    wants = {name: books.holders[name].want(capacity.name) for name in live}
    wanted = fair_shares(capacity.amount, wants, turn)
    left = capacity.amount - sum(wanted.values())
    target = wanted[holder] + fair_shares(left, dict.fromkeys(live, left), turn)[holder]
    return max(0, min(target, books.free(capacity.name, capacity.amount, holder, now)))


def _parcel(books: Books, clock: BrokerClock, budget: Budget, holder: str, now: float) -> Parcel | None:
    counted = counting_span(books, clock, budget, now)
    if counted is None:
        return None
    span, horizon, valid_seconds = counted
    limit = budget.limit_in(span)
    left = limit - books.used(budget, span, horizon)
    has: dict[str, int] = {}
    more: dict[str, int] = {}
    for name, request in books.live(now).items():
        unseen = books.unseen(name, budget.name, request)
        for need in request.needs:
            if need.budget == budget.name:
                has[name] = max(0, need.has) + unseen
                room = budget.parcel_max(books.terms.lease_seconds, limit) - has[name]
                more[name] = max(0, min(need.units - unseen, room))
    if left <= 0 or not more.get(holder):
        return None
    turn = int(now // books.terms.lease_seconds)
    targets = fair_shares(left + sum(has.values()), {name: has[name] + more[name] for name in has}, turn)
    units = min(more[holder], targets[holder] - has[holder], left)
    if units <= 0:
        return None
    return Parcel(
        budget=budget.name,
        units=units,
        starts_at=moment(span.starts),
        ends_at=moment(span.ends),
        valid_seconds=valid_seconds,
    )


def counting_span(
    books: Books, clock: BrokerClock, budget: Budget, now: float
) -> tuple[Span, float, float] | None:
    """Where units granted now are counted, the earliest that it may be now, and how long the units may be spent.

    None where it is not known, or too close to the end of a calendar's span. Units of a calendar must be spent *and counted by the relay*
    within their span, whichever of the bounds is true.
    """
    terms = books.terms
    earliest, latest = clock.earliest(now), clock.latest(now)
    if earliest is None or latest is None:
        return None
    earliest, latest = earliest - terms.clock_margin_seconds, latest + terms.clock_margin_seconds
    span = budget.window.span(latest)
    if budget.window.reach_seconds:
        return span, earliest, terms.lease_seconds
    valid_seconds = min(terms.lease_seconds, (span.ends - latest) * (1 - DRIFT))
    if earliest < span.starts or valid_seconds <= terms.attempt_seconds_max:
        return None
    return span, earliest, valid_seconds
