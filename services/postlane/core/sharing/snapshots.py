"""The books as one record, and back: what a new allocator reads instead of days of grants."""

from postlane.core.events.relay_lease import Amount, Claim, Outstanding, RelaySnapshot, Tally
from postlane.core.instants import moment
from postlane.core.sharing.books import Books, Claimed, Given, HolderBook, Probing
from postlane.core.sharing.terms import FREE_FACTOR
from postlane.core.sharing.windows import Span

# A new allocator reads at most so much. Also written so often without any traffic, it outlives the topic's retention of three days.
SNAPSHOT_RECORDS = 2000
SNAPSHOT_SECONDS = 3600.0


def take_snapshot(books: Books, read_to: int, now: float) -> RelaySnapshot:
    """All that the books know, as of everything below `read_to`."""
    books.number += 1
    claims = [
        Claim(
            grant=number,
            holder=name,
            lease_seconds=claim.lease_seconds,
            amounts=tuple(Amount(*part) for part in claim.amounts.items()),
        )
        for name, book in books.holders.items()
        for number, claim in (*book.claims.items(), *([(0, book.using)] if book.using else []))
        if claim.until > now
    ]
    probe = books.probe
    return RelaySnapshot(
        number=books.number,
        read_to=read_to,
        tallies=tuple(
            Tally(budget=budget, starts_at=moment(span.starts), ends_at=moment(span.ends), units=units)
            for (budget, span), units in books.tallies.items()
        ),
        outstanding=tuple(
            Outstanding(
                grant=number,
                holder=given.holder,
                budget=budget,
                starts_at=moment(given.span.starts),
                ends_at=moment(given.span.ends),
                units=given.units,
                returned=given.returned,
            )
            for (number, budget), given in books.given.items()
        ),
        claims=tuple(claims),
        hold=books.hold,
        probe=None
        if probe is None
        else Claim(grant=probe.grant, holder=probe.holder, lease_seconds=probe.lease_seconds, amounts=()),
    )


def restore_snapshot(books: Books, snapshot: RelaySnapshot, now: float) -> None:
    """Into empty books. Leases count anew from now: when they were given is not known on our clock, only that it was earlier."""
    books.number = snapshot.number
    books.hold = snapshot.hold
    if (probe := snapshot.probe) is not None:
        until = now + probe.lease_seconds * FREE_FACTOR
        books.probe = Probing(probe.grant, probe.grant, probe.holder, until, probe.lease_seconds)
    for tally in snapshot.tallies:
        span = Span(int(tally.starts_at.timestamp()), int(tally.ends_at.timestamp()))
        books.tallies[tally.budget, span] = tally.units
    for part in snapshot.outstanding:
        span = Span(int(part.starts_at.timestamp()), int(part.ends_at.timestamp()))
        until = now + 2 * books.terms.free_seconds
        books.given[part.grant, part.budget] = Given(part.holder, span, part.units, until, part.returned)
    for claim in snapshot.claims:
        book = books.holders.setdefault(claim.holder, HolderBook(now))
        amounts = {part.name: part.amount for part in claim.amounts}
        until = now + claim.lease_seconds * FREE_FACTOR
        claimed = Claimed(amounts, until, claim.lease_seconds)
        if claim.grant:
            book.claims[claim.grant] = claimed
        else:
            book.using = claimed
