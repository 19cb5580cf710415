"""RelayLease: how senders share one relay's limits, as the topic mail.relays keeps it (core.sharing decides)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never


class LeaseKind(StrEnum):
    """Which part of a RelayLease is filled."""

    REQUEST = "REQUEST"
    GRANT = "GRANT"
    REPORT = "REPORT"
    SNAPSHOT = "SNAPSHOT"
    OTHER = "OTHER"


class ReportOutcome(StrEnum):
    """What the relay said that concerns every sender."""

    REFUSED = "REFUSED"
    ANSWERED = "ANSWERED"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class Amount:
    """So much of a capacity."""

    name: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Units of a budget that a sender wants in addition to those it has."""

    budget: str
    units: int
    has: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """How many units of a grant were returned in all: saying it twice changes nothing."""

    grant: int
    budget: str
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """Everything that a sender wants and has; it replaces its earlier ones. `seen` is the newest grant that it has read."""

    number: int
    seen: int
    wants: tuple[Amount, ...]
    using: tuple[Amount, ...]
    needs: tuple[Need, ...]
    returned: tuple[Returned, ...]
    leaving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Units of a budget, counted in the span from `starts_at` to `ends_at`; they can be spent for `valid_seconds` from the request."""

    budget: str
    units: int
    starts_at: datetime
    ends_at: datetime
    valid_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayHold:
    """Why nobody sends through the relay, and when one sender will try again."""

    cause: str
    reason: str
    reported_by: str
    since_at: datetime
    probe_at: datetime
    refusals: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseGrant:
    """The answer to a request, decided by an allocator that had read everything below the offset `read_to`."""

    number: int
    holder: str
    request: int
    read_to: int
    lease_seconds: float
    amounts: tuple[Amount, ...]
    parcels: tuple[Parcel, ...]
    probe: bool = False
    hold: RelayHold | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayReport:
    """What the relay said to a mail that was started under `grant`; the same `number` again is the same report."""

    number: int
    outcome: ReportOutcome
    grant: int
    probe: bool = False
    cause: str = ""
    reason: str = ""
    wait_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Units granted and not returned in one span of a budget."""

    budget: str
    starts_at: datetime
    ends_at: datetime
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outstanding:
    """Units of a grant that may still be returned."""

    grant: int
    holder: str
    budget: str
    starts_at: datetime
    ends_at: datetime
    units: int
    returned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Capacity that a sender may be using; `grant` is 0 for what it said it was using."""

    grant: int
    holder: str
    lease_seconds: float
    amounts: tuple[Amount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySnapshot:
    """All that the allocator knows: what senders wrote below `read_to`, and every grant with a lower number."""

    number: int
    read_to: int
    tallies: tuple[Tally, ...]
    outstanding: tuple[Outstanding, ...]
    claims: tuple[Claim, ...]
    hold: RelayHold | None = None
    probe: Claim | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLease:
    """One record of mail.relays. `written_by` is new with every start of a sender and with every take-over of an allocator."""

    relay: str
    kind: LeaseKind
    written_by: str
    request: LeaseRequest | None = None
    grant: LeaseGrant | None = None
    report: RelayReport | None = None
    snapshot: RelaySnapshot | None = None


LeaseBody = LeaseRequest | LeaseGrant | RelayReport | RelaySnapshot


def lease_of(relay: str, written_by: str, body: LeaseBody) -> RelayLease:
    """The record that carries a body."""
    match body:
        case LeaseRequest():
            return RelayLease(relay=relay, kind=LeaseKind.REQUEST, written_by=written_by, request=body)
        case LeaseGrant():
            return RelayLease(relay=relay, kind=LeaseKind.GRANT, written_by=written_by, grant=body)
        case RelayReport():
            return RelayLease(relay=relay, kind=LeaseKind.REPORT, written_by=written_by, report=body)
        case RelaySnapshot():
            return RelayLease(relay=relay, kind=LeaseKind.SNAPSHOT, written_by=written_by, snapshot=body)
        case _:
            assert_never(body)


def body_of(lease: RelayLease) -> LeaseBody | None:
    """What a record says; None for a kind that this version does not know, and for a record that lacks what its kind promises."""
    match lease.kind:
        case LeaseKind.REQUEST:
            return lease.request
        case LeaseKind.GRANT:
            return lease.grant
        case LeaseKind.REPORT:
            return lease.report
        case LeaseKind.SNAPSHOT:
            return lease.snapshot
        case LeaseKind.OTHER:
            return None
        case _:
            assert_never(lease.kind)


def lease_key(relay: str) -> bytes:
    """The key of a relay's records: all of them stand in one partition, whose owner is the relay's allocator."""
    return relay.encode()


def lease_id(lease: RelayLease) -> str:
    """Unique but for a report that its writer repeats, which is the same report."""
    body = body_of(lease)
    number = "" if body is None else f"{body.number}"
    return f"{lease.relay}/{lease.written_by}/{lease.kind.value.lower()}/{number}"
