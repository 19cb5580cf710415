"""One relay's allocator: `step(allocator, event, now)`, run by the owner of the relay's partition of mail.relays.

READING   --CaughtUp-->                     IN_OFFICE (a snapshot is due)
IN_OFFICE --Tick, something to say-->       WRITING (effect Write: one transaction)
WRITING   --Committed-->                    IN_OFFICE
WRITING   --Aborted-->                      IN_OFFICE (what was decided is undone and decided again)
any       --Deposed, a newer grant-->       DEPOSED (another is the owner now: nothing is decided any more)

Grants are decided only in office, that is once everything that former allocators wrote has been read. `now` is a monotonic clock.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import assert_never

from postlane.core.events.relay_lease import (
    LeaseGrant,
    LeaseRequest,
    RelayLease,
    RelayReport,
    RelaySnapshot,
    body_of,
    lease_of,
)
from postlane.core.sharing.books import Books
from postlane.core.sharing.broker_clock import BrokerClock
from postlane.core.sharing.granting import decide_grant
from postlane.core.sharing.snapshots import restore_snapshot, take_snapshot
from postlane.core.sharing.terms import Terms

BATCH_MAX = 500  # grants in one transaction: some hundred bytes each


class Office(Enum):
    """See the module's table."""

    READING = "reading"
    IN_OFFICE = "in office"
    WRITING = "writing"
    DEPOSED = "deposed"


@dataclass(frozen=True, slots=True)
class Entry:
    """A committed record of the relay: where it stands, and the brokers' time of it in seconds since 1970; `marks` of its writer's section."""

    offset: int
    written_at: float
    lease: RelayLease
    marks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Read:
    """The partition was read up to, and without, `position`; these records of the relay were new, in their order."""

    entries: tuple[Entry, ...]
    position: int


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Everything that stood in the partition when it was taken over has been read."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: decide whatever is to be decided."""


@dataclass(frozen=True, slots=True)
class SnapshotDue:
    """The reading of a next allocator would otherwise grow too long."""


@dataclass(frozen=True, slots=True)
class ProbeWanted:
    """A person has mended something: a held relay shall be tried at once."""


@dataclass(frozen=True, slots=True)
class Committed:
    """The transaction of the last Write is durable."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The transaction of the last Write surely did not happen. One whose end is not known is neither this nor Committed."""


@dataclass(frozen=True, slots=True)
class Deposed:
    """Another owner has the transactional id."""


AllocatorEvent = Read | CaughtUp | Tick | SnapshotDue | ProbeWanted | Committed | Aborted | Deposed


@dataclass(frozen=True, slots=True)
class Write:
    """Produce these in one transaction. With `commit_to` also commit it as the partition's offset: a next allocator reads from there."""

    leases: tuple[RelayLease, ...]
    commit_to: int | None = None


class Allocator:
    """`name` must be new with every take-over: by it our own records are told from those of others."""

    def __init__(self, terms: Terms, name: str) -> None:
        self.terms = terms
        self.name = name
        self.office = Office.READING
        self.books = Books(terms)
        self.clock = BrokerClock()
        self.position = 0
        self.snapshot_due = True
        self.batch: tuple[LeaseGrant | RelaySnapshot, ...] = ()
        self.decided_at: dict[int, float] = {}  # by number, until read back
        self.before: list[Entry] = []  # read before taking office


def step(allocator: Allocator, event: AllocatorEvent, now: float) -> list[Write]:
    """Apply one event and return what must be written."""
    if allocator.office is Office.DEPOSED:
        return []
    match event:
        case Read():
            _read(allocator, event, now)
        case CaughtUp():
            _take_office(allocator, now)
        case Tick():
            return [*_decide(allocator, now)]
        case SnapshotDue():
            allocator.snapshot_due = True
        case ProbeWanted():
            # The snapshot tells everybody; who then asks for a connection gets the probe.
            allocator.snapshot_due |= allocator.books.hasten(allocator.clock.earliest(now))
        case Committed():
            _settle(allocator)
        case Aborted():
            _undo(allocator)
        case Deposed():
            allocator.office, allocator.batch = Office.DEPOSED, ()
        case _:
            assert_never(event)
    return []


def _read(allocator: Allocator, event: Read, now: float) -> None:
    for entry in event.entries:
        allocator.clock.was_read(entry.written_at, now)
        if allocator.office is Office.READING:
            _keep(allocator, entry)
        elif entry.lease.written_by == allocator.name:
            _read_back(allocator, entry, now)
        elif entry.lease.grant is not None or entry.lease.snapshot is not None:
            # All that former allocators wrote was read before: this is a later one.
            allocator.office, allocator.batch = Office.DEPOSED, ()
        else:
            _hear(allocator, entry, now)
    allocator.position = event.position


def _keep(allocator: Allocator, entry: Entry) -> None:
    """Before the office: a snapshot replaces what it contains. What senders wrote while it was on its way is not contained."""
    snapshot = entry.lease.snapshot
    if snapshot is not None:
        allocator.before = [
            kept
            for kept in allocator.before
            if kept.offset >= snapshot.read_to and kept.lease.grant is None and kept.lease.snapshot is None
        ]
        allocator.before.insert(0, entry)
    else:
        allocator.before.append(entry)


def _take_office(allocator: Allocator, now: float) -> None:
    for entry in allocator.before:
        _hear(allocator, entry, now)
    allocator.before = []
    allocator.office = Office.IN_OFFICE


def _hear(allocator: Allocator, entry: Entry, now: float) -> None:
    body, writer = body_of(entry.lease), entry.lease.written_by
    match body:
        case LeaseRequest():
            # After a take-over it may be old: who died long ago shall not get a share once more.
            age_seconds = max(0.0, (allocator.clock.earliest(now) or 0.0) - entry.written_at)
            allocator.books.request(writer, body, now, age_seconds)
        case RelayReport():
            before = allocator.books.hold
            allocator.books.report(writer, body, entry.written_at, now)
            allocator.snapshot_due |= allocator.books.hold != before  # all shall hear of it
        case LeaseGrant():
            allocator.books.grant(body, now)
        case RelaySnapshot():
            restore_snapshot(allocator.books, body, now)
        case None:
            pass
        case _:
            assert_never(body)


def _read_back(allocator: Allocator, entry: Entry, now: float) -> None:
    body = body_of(entry.lease)
    if isinstance(body, LeaseGrant | RelaySnapshot):
        decided = allocator.decided_at.pop(body.number, None)
        if decided is not None:
            allocator.clock.was_written(entry.written_at, decided, now)


def _decide(allocator: Allocator, now: float) -> Iterator[Write]:
    if allocator.office is not Office.IN_OFFICE:
        return
    books = allocator.books
    books.forget(now, allocator.clock.earliest(now))
    commit_to = None
    if allocator.snapshot_due:
        # Alone in its transaction: it holds what is committed, and no grant that might yet be undone.
        allocator.snapshot_due, commit_to = False, allocator.position
        allocator.batch = (take_snapshot(books, allocator.position, now),)
    else:
        allocator.batch = tuple(_grants(allocator, now))
    if allocator.batch:
        allocator.office = Office.WRITING
        allocator.decided_at.update(dict.fromkeys((body.number for body in allocator.batch), now))
        leases = (lease_of(allocator.terms.relay, allocator.name, body) for body in allocator.batch)
        yield Write(tuple(leases), commit_to)


def _grants(allocator: Allocator, now: float) -> Iterator[LeaseGrant]:
    books = allocator.books
    asking = [
        name
        for name, book in books.holders.items()
        if book.request is not None and book.request.number > book.answered
    ]
    for holder in asking[:BATCH_MAX]:
        grant = decide_grant(books, allocator.clock, holder, allocator.position, now)
        books.grant(grant, now)
        yield grant


def _settle(allocator: Allocator) -> None:
    if allocator.office is Office.WRITING:
        allocator.office, allocator.batch = Office.IN_OFFICE, ()


def _undo(allocator: Allocator) -> None:
    if allocator.office is not Office.WRITING:
        return
    for body in allocator.batch:
        allocator.decided_at.pop(body.number, None)
        if isinstance(body, LeaseGrant):
            allocator.books.cancel(body)
        else:
            allocator.snapshot_due = True
    allocator.office, allocator.batch = Office.IN_OFFICE, ()
