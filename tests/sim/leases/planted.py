"""Bugs planted in the real core or in what goes on around it, one class each; the simulation must catch every one of them."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from postlane.core.events.relay_lease import LeaseGrant, LeaseRequest, RelaySnapshot
from postlane.core.sharing import allocator, books, granting, holder, snapshots
from postlane.core.sharing.allocator import Allocator
from postlane.core.sharing.books import Books, HolderBook
from postlane.core.sharing.broker_clock import BrokerClock
from postlane.core.sharing.fair_shares import fair_shares
from postlane.core.sharing.holder import Holder
from postlane.core.sharing.kafka_time import KafkaTime
from postlane.core.sharing.purse import Draw, Purse
from postlane.core.sharing.terms import Budget
from postlane.core.sharing.windows import Span
from sim.leases.hooks import Planted


@contextmanager
def changed(place: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute for a while."""
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)


class GossipHolder(Holder):
    """Takes its share of the connections by what it has heard the others want."""

    def amount(self, capacity: str, now: float) -> int:
        if super().amount(capacity, now) == 0:
            return 0
        total = next(part.amount for part in self.terms.capacities if part.name == capacity)
        wants = {
            "another": total if self.neighbour_lacks else 0,
            self.name: self.demand.capacities.get(capacity, 0),
        }
        return fair_shares(total, wants)[self.name]


class Gossip(Planted):
    """Everybody works his own share out from what the others said: too much as soon as he has not heard them yet."""

    holder_type = GossipHolder


class ExpiryFromReceipt(Planted):
    """A lease counts from when the holder read it, not from when he composed the request."""

    def patched(self) -> Any:
        original = holder._hear_grant

        def hear(reader: Holder, grant: LeaseGrant, now: float) -> None:
            if grant.request in reader.asking.sent_at:
                reader.asking.sent_at[grant.request] = now
            original(reader, grant, now)

        return changed(holder, "_hear_grant", hear)


class ExpiredUnitsSpent(Planted):
    """Units are spent without a look at their age."""

    def patched(self) -> Any:
        original = Purse.take

        def take(purse: Purse, costs: Mapping[str, int], now: float) -> tuple[Draw, ...] | None:
            return original(purse, costs, now - 3.0)

        return changed(Purse, "take", take)


class SleepNotCounted(Planted):
    """The holder's clock stands still while its process is stopped, as CLOCK_MONOTONIC does while a machine is suspended."""

    sleeps_uncounted = True


class ReturnedTwice(Planted):
    """A return that is said again is credited again."""

    def patched(self) -> Any:
        def take_back(kept: Books, name: str, grant: int, budget: str, units: int) -> None:
            given = kept.given.get((grant, budget))
            if given is not None and given.holder == name and (budget, given.span) in kept.tallies:
                kept.tallies[budget, given.span] -= units

        return changed(Books, "_take_back", take_back)


class ZombieHonoured(Planted):
    """Holders read uncommitted: what a zombie, or an aborted transaction, granted counts."""

    dirty_reads = True


class NotFenced(Planted):
    """A former allocator's transactions still commit."""

    fences = False


class SnapshotLosesUnits(Planted):
    """A snapshot leaves out the newest tally of each budget."""

    def patched(self) -> Any:
        def lossy(kept: Books, read_to: int, now: float) -> RelaySnapshot:
            snapshot = snapshots.take_snapshot(kept, read_to, now)
            return replace(snapshot, tallies=snapshot.tallies[:-1])

        return changed(allocator, "take_snapshot", lossy)


class SnapshotLosesLeases(Planted):
    """A snapshot leaves out who may be using connections."""

    def patched(self) -> Any:
        def lossy(kept: Books, read_to: int, now: float) -> RelaySnapshot:
            return replace(snapshots.take_snapshot(kept, read_to, now), claims=())

        return changed(allocator, "take_snapshot", lossy)


class SnapshotLosesHold(Planted):
    """A snapshot leaves out that the relay is held."""

    def patched(self) -> Any:
        def restore(kept: Books, snapshot: RelaySnapshot, now: float) -> None:
            snapshots.restore_snapshot(kept, replace(snapshot, hold=None), now)

        return changed(allocator, "restore_snapshot", restore)


class ReadFromSnapshot(Planted):
    """A new allocator starts to read at the snapshot, not at what the snapshot had read: reports in between are lost."""

    def patched(self) -> Any:
        original = allocator._keep

        def keep(reader: Allocator, entry: allocator.Entry) -> None:
            if entry.lease.snapshot is not None:
                reader.before.clear()
            original(reader, entry)

        return changed(allocator, "_keep", keep)


class OfficeBeforeReading(Planted):
    """A new allocator grants before it has read what its predecessors granted."""

    def caught_up(self, position: int, end: int) -> bool:
        del position, end
        return True


class NoInitBeforeReading(Planted):
    """A new allocator reads only what was there at its last snapshot, and no further."""

    def caught_up(self, position: int, end: int) -> bool:
        return position >= end - 4


class FreedTooSoon(Planted):
    """The allocator gives a lease away again without waiting for the attempts that may have started in it."""

    def patched(self) -> Any:
        return changed(books, "FREE_FACTOR", 0.5)


class CurrentLeaseForgotten(Planted):
    """A request that has seen a grant makes that very grant void, too."""

    def patched(self) -> Any:
        original = Books.request

        def request(kept: Books, name: str, said: LeaseRequest, now: float, age: float = 0.0) -> None:
            original(kept, name, said, now, age)
            if name in kept.holders:
                kept.holders[name].claims.pop(said.seen, None)

        return changed(Books, "request", request)


class UsingIgnored(Planted):
    """A holder that got less counts with what it got, although its mails are still in flight."""

    def patched(self) -> Any:
        original = Books.request

        def request(kept: Books, name: str, said: LeaseRequest, now: float, age: float = 0.0) -> None:
            original(kept, name, replace(said, using=()), now, age)

        return changed(Books, "request", request)


class OldGrantReleases(Planted):
    """A hold is over when any grant says so, even one that was decided before the report was read."""

    def patched(self) -> Any:
        original = holder._hear_hold

        def hear(reader: Holder, said: LeaseGrant | RelaySnapshot) -> None:
            original(reader, replace(said, read_to=1_000_000))

        return changed(holder, "_hear_hold", hear)


class HoldersIgnoreReports(Planted):
    """Only the allocator listens to reports; the holders go on until their leases end."""

    def patched(self) -> Any:
        original = holder._hear_report

        def hear(reader: Holder, report: Any, offset: int, *, own: bool) -> None:
            if own:
                original(reader, report, offset, own=own)

        return changed(holder, "_hear_report", hear)


class ProbeForAll(Planted):
    """Everybody who asks may probe."""

    def patched(self) -> Any:
        original = granting._may_probe

        def may(kept: Books, clock: BrokerClock, name: str, now: float) -> bool:
            before, kept.probe = kept.probe, None
            try:
                return original(kept, clock, name, now)
            finally:
                kept.probe = before

        return changed(granting, "_may_probe", may)


class UnknownIsAborted(Planted):
    """A commit whose answer was lost is taken for an abort, and its grants for not given."""

    unknown_is_aborted = True


class WallClock(Planted):
    """Windows are counted by the wall clock of whoever is the allocator, and such clocks jump."""

    @contextmanager
    def patched(self) -> Iterator[None]:
        earliest, jumps = BrokerClock.earliest, random.Random(1)

        def wrong(clock: BrokerClock, now: float) -> float | None:
            at = earliest(clock, now)
            return None if at is None else at + jumps.choice([-30.0, 0.0, 0.0, 30.0])

        with changed(BrokerClock, "earliest", wrong), changed(BrokerClock, "latest", wrong):
            yield


class RollingWithoutTail(Planted):
    """Units of a rolling window stop to count a window after they were granted, though they may be spent a lease later."""

    def patched(self) -> Any:
        def used(kept: Books, budget: Budget, at: Span, horizon: float) -> int:
            reach = budget.window.reach_seconds
            return sum(
                units
                for (name, span), units in kept.tallies.items()
                if name == budget.name and span.ends + reach > (horizon + 0.5 if reach else at.starts)
            )

        return changed(Books, "used", used)


class DayEndIgnored(Planted):
    """Units of a day may be spent for a whole lease, also across midnight."""

    def patched(self) -> Any:
        def span_of(
            kept: Books, clock: BrokerClock, budget: Budget, now: float
        ) -> tuple[Span, float, float] | None:
            at = clock.earliest(now)
            return None if at is None else (budget.window.span(at), at, kept.terms.lease_seconds)

        return changed(granting, "counting_span", span_of)


class DeadHolderForgotten(Planted):
    """Who has not asked for a while has no connections either."""

    def patched(self) -> Any:
        original = HolderBook.claimed

        def claimed(book: HolderBook, name: str, now: float) -> int:
            return original(book, name, now) if book.heard_at + 3.0 > now else 0

        return changed(HolderBook, "claimed", claimed)


class AbortLeaks(Planted):
    """What an aborted transaction would have granted stays spent."""

    def patched(self) -> Any:
        def cancel(kept: Books, grant: LeaseGrant) -> None:
            book = kept.holders.get(grant.holder)
            if book is not None:
                book.claims.pop(grant.number, None)

        return changed(Books, "cancel", cancel)


class OwnTimeOfDay(Planted):
    """A sender goes by what its own machine's clock shows."""

    def patched(self) -> Any:
        def read_back(time: KafkaTime, appended: float, composed: float, now: float) -> None:
            del appended, composed, now
            time.known = True

        return changed(KafkaTime, "read_back", read_back)


PLANTED: tuple[type[Planted], ...] = (
    Gossip,
    ExpiryFromReceipt,
    ExpiredUnitsSpent,
    SleepNotCounted,
    ReturnedTwice,
    ZombieHonoured,
    NotFenced,
    SnapshotLosesUnits,
    SnapshotLosesLeases,
    SnapshotLosesHold,
    ReadFromSnapshot,
    OfficeBeforeReading,
    NoInitBeforeReading,
    FreedTooSoon,
    CurrentLeaseForgotten,
    UsingIgnored,
    OldGrantReleases,
    HoldersIgnoreReports,
    ProbeForAll,
    UnknownIsAborted,
    WallClock,
    RollingWithoutTail,
    DayEndIgnored,
    DeadHolderForgotten,
    AbortLeaks,
    OwnTimeOfDay,
)
