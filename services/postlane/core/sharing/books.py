"""What the allocator of a relay knows: who holds what, how much of each budget is gone, whether the relay is held.

Units count from the grant on and until they are returned: what a dead holder had is spent. A lease counts until it has surely ended on its holder's
clock, or until the holder says that it has read a later one; what he then still uses counts as such.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from postlane.core.events.relay_lease import (
    Amount,
    LeaseGrant,
    LeaseRequest,
    RelayHold,
    RelayReport,
    ReportOutcome,
)
from postlane.core.instants import moment
from postlane.core.sharing.terms import FREE_FACTOR, Budget, Terms
from postlane.core.sharing.windows import Span

HOLDERS_MAX = 1000  # far over any fleet; a flood of ids must not eat the memory
ORPHAN_SECONDS = 3 * 86400  # how long a budget's tallies are kept that the configuration no longer names


@dataclass(slots=True)
class Claimed:
    """Capacity that a holder may be using until `until`, on our monotonic clock."""

    amounts: dict[str, int]
    until: float
    lease_seconds: float


@dataclass(slots=True)
class HolderBook:
    """One sender. `claims` by grant; `using` is what it said it was using."""

    heard_at: float
    request: LeaseRequest | None = None
    answered: int = 0
    reported: int = 0
    claims: dict[int, Claimed] = field(default_factory=dict)
    using: Claimed | None = None

    def claimed(self, name: str, now: float) -> int:
        """The most that it may be using of a capacity: of all its leases that may be in use, the largest."""
        leases = [*self.claims.values(), *([self.using] if self.using else [])]
        return max((lease.amounts.get(name, 0) for lease in leases if lease.until > now), default=0)

    def want(self, name: str) -> int:
        """How much of a capacity it could use."""
        return 0 if self.request is None else amount_of(self.request.wants, name)


@dataclass(slots=True)
class Given:
    """Units of one grant and budget that may still be returned, until `until` on our monotonic clock."""

    holder: str
    span: Span
    units: int
    until: float
    returned: int = 0


@dataclass(slots=True)
class Probing:
    """One holder may be trying the held relay, under the grants from `first` to `grant`, until `until` on our monotonic clock."""

    first: int
    grant: int
    holder: str
    until: float
    lease_seconds: float


class Books:
    """Changed by records alone, in the order in which they stand in the partition; `now` is our monotonic clock."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.holders: dict[str, HolderBook] = {}
        self.tallies: dict[tuple[str, Span], int] = {}
        self.given: dict[tuple[int, str], Given] = {}
        self.hold: RelayHold | None = None
        self.probe: Probing | None = None
        self.number = 0

    # What senders write

    def request(self, holder: str, request: LeaseRequest, now: float, age_seconds: float = 0.0) -> None:
        """A sender asked at least `age_seconds` ago; what it has read makes its earlier leases void."""
        book = self._book(holder, now)
        if book is None or (book.request is not None and request.number <= book.request.number):
            return
        book.heard_at, book.request = now - age_seconds, request
        kept = {} if request.leaving else book.claims
        book.claims = {number: claim for number, claim in kept.items() if number >= request.seen}
        using = {part.name: part.amount for part in request.using if part.amount > 0}
        seconds = self.terms.lease_seconds
        book.using = Claimed(using, now + seconds * FREE_FACTOR, seconds) if using else None
        for part in request.returned:
            self._take_back(holder, part.grant, part.budget, part.units)
        probe = self.probe
        if probe is not None and probe.holder == holder and request.seen > probe.grant and not using:
            self.probe = None  # it has a later lease and nothing in flight: the probe has come to nothing

    def report(self, holder: str, report: RelayReport, written_at: float, now: float) -> None:
        """The relay refused a sender, or answered the probe; `written_at` is the brokers' time of the record."""
        book = self._book(holder, now)
        if book is None or report.number <= book.reported:
            return
        book.reported = report.number
        probed = self.probe is not None and report.probe and holder == self.probe.holder
        if report.outcome is ReportOutcome.REFUSED:
            self._refused(holder, report, written_at, probed=probed)
        elif report.outcome is ReportOutcome.ANSWERED and probed:
            self.hold, self.probe = None, None

    def _refused(self, holder: str, report: RelayReport, at: float, *, probed: bool) -> None:
        before = self.hold
        # Replies to mails that were in flight together count once; only a probe that fails makes the wait longer.
        refusals = 1 if before is None else before.refusals + probed
        until = at + self.terms.hold_for(refusals, report.wait_seconds)
        longer = report.wait_seconds is not None and (before is None or moment(until) > before.probe_at)
        if before is not None and not probed and not longer:
            return
        if probed:
            self.probe = None
        self.hold = RelayHold(
            cause=report.cause,
            reason=report.reason,
            reported_by=holder,
            since_at=moment(at) if before is None else before.since_at,
            probe_at=moment(until),
            refusals=refusals,
        )

    def hasten(self, now: float | None) -> bool:
        """The held relay is to be tried now, in brokers' time; True where it was to be tried later. A refused probe then waits as a first one does."""
        if self.hold is None or now is None or self.hold.probe_at <= moment(now):
            return False
        self.hold = replace(self.hold, probe_at=moment(now), refusals=0)
        return True

    # What allocators write

    def grant(self, grant: LeaseGrant, now: float) -> None:
        """A grant of ours is decided, or a former allocator's was read: from now on it counts."""
        self.number = max(self.number, grant.number)
        book = self.holders.setdefault(grant.holder, HolderBook(now))
        book.answered = max(book.answered, grant.request)
        until = now + grant.lease_seconds * FREE_FACTOR
        amounts = {part.name: part.amount for part in grant.amounts}
        book.claims[grant.number] = Claimed(amounts, until, grant.lease_seconds)
        if grant.probe:
            probe = self.probe
            again = probe is not None and probe.holder == grant.holder
            first = probe.first if probe is not None and again else grant.number
            self.probe = Probing(first, grant.number, grant.holder, until, grant.lease_seconds)
        for parcel in grant.parcels:
            span = Span(int(parcel.starts_at.timestamp()), int(parcel.ends_at.timestamp()))
            key = parcel.budget, span
            self.tallies[key] = self.tallies.get(key, 0) + parcel.units
            # Twice as long as needed: a return repeats until it is answered.
            self.given[grant.number, parcel.budget] = Given(
                grant.holder, span, parcel.units, until + grant.lease_seconds
            )

    def cancel(self, grant: LeaseGrant) -> None:
        """The transaction of this grant was aborted: nobody will ever read it."""
        book = self.holders.get(grant.holder)
        if book is not None:
            book.claims.pop(grant.number, None)
            book.answered = min(book.answered, grant.request - 1)
        if self.probe is not None and self.probe.first == grant.number:
            self.probe = None
        for parcel in grant.parcels:
            self._take_back(grant.holder, grant.number, parcel.budget, parcel.units)
            self.given.pop((grant.number, parcel.budget), None)

    def _take_back(self, holder: str, grant: int, budget: str, units: int) -> None:
        given = self.given.get((grant, budget))
        if given is None or given.holder != holder:
            return  # too late, or not his: the units stay spent
        more = min(units, given.units) - given.returned
        if more > 0:
            given.returned += more
            if (budget, given.span) in self.tallies:
                self.tallies[budget, given.span] -= more

    # Questions

    def used(self, budget: Budget, at: Span, horizon: float) -> int:
        """Units that count now: `at` is the span that units granted now belong to, `horizon` the earliest that it may be."""
        reach = budget.window.reach_seconds

        def counts(span: Span) -> bool:
            if not reach:
                return span.ends > at.starts
            # Units granted at the end of a span may be spent a lease later.
            return span.ends + reach + self.terms.free_seconds > horizon

        return sum(
            units for (name, span), units in self.tallies.items() if name == budget.name and counts(span)
        )

    def live(self, now: float) -> dict[str, LeaseRequest]:
        """The senders that asked within a lease and stay."""
        return {
            name: book.request
            for name, book in self.holders.items()
            if book.request is not None
            and not book.request.leaving
            and book.heard_at + self.terms.free_seconds > now
        }

    def free(self, name: str, amount: int, holder: str, now: float) -> int:
        """What nobody but this holder may be using of a capacity."""
        return amount - sum(
            book.claimed(name, now) for other, book in self.holders.items() if other != holder
        )

    def unseen(self, holder: str, budget: str, request: LeaseRequest) -> int:
        """Units granted to a holder that its request does not know of yet."""
        return sum(
            given.units - given.returned
            for (number, name), given in self.given.items()
            if number > request.seen and name == budget and given.holder == holder
        )

    def forget(self, now: float, earliest: float | None) -> None:
        """Drop what no longer counts; `earliest` is the brokers' time at least."""
        if self.probe is not None and self.probe.until <= now:
            self.probe = None
        self.given = {key: given for key, given in self.given.items() if given.until > now}
        for name, book in list(self.holders.items()):
            book.claims = {number: claim for number, claim in book.claims.items() if claim.until > now}
            if book.using is not None and book.using.until <= now:
                book.using = None
            silent = book.heard_at + 2 * self.terms.free_seconds <= now
            if silent and not book.claims and book.using is None:
                del self.holders[name]
        if earliest is not None:
            self.tallies = {key: units for key, units in self.tallies.items() if self._counts(*key, earliest)}

    def _counts(self, name: str, span: Span, earliest: float) -> bool:
        for budget in self.terms.budgets:
            if budget.name == name:
                kept = budget.window.length_seconds + 2 * self.terms.free_seconds
                return span.ends + kept > earliest
        return span.ends + ORPHAN_SECONDS > earliest

    def _book(self, holder: str, now: float) -> HolderBook | None:
        book = self.holders.get(holder)
        if book is None and len(self.holders) < HOLDERS_MAX:
            book = self.holders[holder] = HolderBook(now)
        return book


def amount_of(amounts: Iterable[Amount], name: str) -> int:
    """How much of it is named."""
    return next((part.amount for part in amounts if part.name == name), 0)
