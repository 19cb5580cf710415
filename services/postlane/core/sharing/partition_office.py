"""The allocators of all relays whose records stand in one partition of mail.relays: one transaction for what they decide at a time.

The partition's offset says from where a next owner must read: never beyond what the last snapshot of any of the relays contains.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from postlane.core.events.relay_lease import RelayLease
from postlane.core.sharing.allocator import (
    Aborted,
    Allocator,
    AllocatorEvent,
    CaughtUp,
    Committed,
    Entry,
    Office,
    ProbeWanted,
    Read,
    SnapshotDue,
    Tick,
    Write,
    step,
)
from postlane.core.sharing.snapshots import SNAPSHOT_RECORDS, SNAPSHOT_SECONDS
from postlane.core.sharing.terms import Terms, no_terms

AllocatorOf = Callable[[Terms, str], Allocator]


@dataclass(frozen=True, slots=True)
class Decided:
    """Produce these in one transaction; with `commit_to` also commit it as the partition's offset."""

    leases: tuple[RelayLease, ...]
    commit_to: int | None


class PartitionOffice:
    """`terms` of the relays that this process knows; `name` must be new with every take-over. `now` is a monotonic clock."""

    def __init__(
        self, terms: Mapping[str, Terms], name: str, now: float, allocator: AllocatorOf = Allocator
    ) -> None:
        self._terms = dict(terms)
        self.name = name
        self._allocator = allocator
        self.allocators = {relay: allocator(its, name) for relay, its in terms.items()}
        self._in_office = False
        self._position = 0
        self._records = 0
        self._snapshot_at = now
        self._writing: dict[str, Write] = {}
        self._read_to: dict[str, int] = {}  # by relay, of its last committed snapshot

    @property
    def deposed(self) -> bool:
        """A newer owner has written: nothing is decided here any more."""
        return any(allocator.office is Office.DEPOSED for allocator in self.allocators.values())

    def read(self, entries: Sequence[Entry], position: int, now: float) -> None:
        """The partition was read up to, and without, `position`; these are all its records there."""
        by_relay: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_relay[entry.lease.relay].append(entry)
        for relay in by_relay.keys() - self.allocators.keys():
            self._begin(relay, now)
        self._position = position
        self._records += len(entries)
        for relay in self.allocators:
            self._step(relay, Read(tuple(by_relay[relay]), position), now)

    def caught_up(self, now: float) -> None:
        """Everything that stood there at the take-over has been read."""
        self._in_office = True
        for relay in self.allocators:
            self._step(relay, CaughtUp(), now)

    def probe_wanted(self, relay: str, now: float) -> None:
        """A person wants a held relay tried at once."""
        if relay in self.allocators:
            self._step(relay, ProbeWanted(), now)

    def decide(self, now: float) -> Decided | None:
        """What is to be written now; nothing while a transaction is not ended yet."""
        if not self._in_office or self._writing:
            return None
        if self._records >= SNAPSHOT_RECORDS or now - self._snapshot_at >= SNAPSHOT_SECONDS:
            self._records, self._snapshot_at = 0, now
            for relay in self.allocators:
                self._step(relay, SnapshotDue(), now)
        for relay in self.allocators:
            for write in self._step(relay, Tick(), now):
                self._writing[relay] = write
        if not self._writing:
            return None
        leases = tuple(lease for write in self._writing.values() for lease in write.leases)
        return Decided(leases, self._commit_to())

    def committed(self, now: float) -> None:
        """The transaction of what was decided is durable."""
        for relay, write in self._end_writing():
            if write.commit_to is not None:
                self._read_to[relay] = write.commit_to
            self._step(relay, Committed(), now)

    def aborted(self, now: float) -> None:
        """It surely did not happen."""
        for relay, _ in self._end_writing():
            self._step(relay, Aborted(), now)

    def _commit_to(self) -> int | None:
        """The lowest that a relay's newest snapshot was read to, if one of these is being written."""
        new = {
            relay: write.commit_to for relay, write in self._writing.items() if write.commit_to is not None
        }
        read_to = self._read_to | new
        return min(read_to.values()) if new and read_to.keys() == self.allocators.keys() else None

    def _end_writing(self) -> list[tuple[str, Write]]:
        writing, self._writing = self._writing, {}
        return list(writing.items())

    def _begin(self, relay: str, now: float) -> None:
        """A relay of which only the records tell: its books are kept, nothing of it is granted."""
        self._terms[relay] = no_terms(relay)
        self.allocators[relay] = self._allocator(self._terms[relay], self.name)
        if self._in_office:
            self._step(relay, Read((), self._position), now)
            self._step(relay, CaughtUp(), now)

    def _step(self, relay: str, event: AllocatorEvent, now: float) -> list[Write]:
        return step(self.allocators[relay], event, now)
