"""A relay's partition without faults, an allocator and some holders at it: for stories, one clock for all."""

from postlane.core.events.relay_lease import LeaseGrant, RelayLease
from postlane.core.sharing import allocator as allocating
from postlane.core.sharing import holder as holding
from postlane.core.sharing import holder_events
from postlane.core.sharing.allocator import Allocator, CaughtUp, Committed, Entry, Read
from postlane.core.sharing.holder import Holder
from postlane.core.sharing.holder_events import Demand, Heard, Pass, Wait
from postlane.core.sharing.terms import CONNECTIONS, Budget, Capacity, Terms
from postlane.core.sharing.windows import Rolling

HOUR = 3600.0
STEP_SECONDS = 0.25


def terms(connections: int = 4, *budgets: Budget) -> Terms:
    """Leases of 120 s, attempts of up to 40 s."""
    return Terms(relay="relay", capacities=(Capacity(CONNECTIONS, connections),), budgets=budgets)


def hourly(limit: int) -> Budget:
    return Budget("mails/hour", limit, Rolling(HOUR))


class Bench:
    """`now` is everybody's monotonic clock and, from `base` on, the brokers' time."""

    def __init__(self, shared: Terms, *names: str) -> None:
        self.terms = shared
        self.now = 1000.0
        self.base = 1_790_000_000.0
        self.entries: list[Entry] = []
        self.holders = {name: Holder(shared, name) for name in names}
        self.read = dict.fromkeys(names, 0)
        self.allocator = self.take_over("allocator1", 0)

    def take_over(self, name: str, start: int) -> Allocator:
        """A new allocator that reads from `start`."""
        self.allocator = Allocator(self.terms, name)
        self._step(Read(tuple(self.entries[start:]), len(self.entries)))
        self._step(CaughtUp())
        return self.allocator

    def write(self, lease: RelayLease) -> None:
        self.entries.append(Entry(len(self.entries), self.base + self.now, lease))

    def demand(self, name: str, connections: int, **budgets: int) -> None:
        """What a sender wants from now on."""
        wanted = {part.name: budgets.get("units", 0) for part in self.terms.budgets}
        self.tell(name, Demand(capacities={CONNECTIONS: connections}, budgets=wanted))

    def tell(self, name: str, event: holder_events.HolderEvent) -> None:
        for lease in holding.step(self.holders[name], event, self.now):
            self.write(lease)

    def run(self, seconds: float, *without: str) -> None:
        """Everybody reads and writes for so long, except `without`."""
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_SECONDS
            for name in self.holders:
                if name not in without:
                    self.tell(name, Heard(tuple(self.entries[self.read[name] :])))
                    self.read[name] = len(self.entries)
                    self.tell(name, holder_events.Tick())
            if "allocator" not in without:
                unread = self.entries[self.allocator.position :]
                self._step(Read(tuple(unread), len(self.entries)))
                self._step(allocating.Tick())

    def _step(self, event: allocating.AllocatorEvent) -> None:
        for write in allocating.step(self.allocator, event, self.now):
            for lease in write.leases:
                self.write(lease)
            allocating.step(self.allocator, Committed(), self.now)

    def connections(self, name: str) -> int:
        return self.holders[name].amount(CONNECTIONS, self.now)

    def start(self, name: str) -> Pass | Wait:
        return holding.start(self.holders[name], {part.name: 1 for part in self.terms.budgets}, self.now)

    def grants(self) -> list[LeaseGrant]:
        return [entry.lease.grant for entry in self.entries if entry.lease.grant is not None]
