"""A record of mail.relays as a line for people."""

from collections.abc import Iterable
from typing import assert_never

from postlane.core.events.relay_lease import (
    Amount,
    LeaseGrant,
    LeaseRequest,
    RelayHold,
    RelayLease,
    RelayReport,
    RelaySnapshot,
    ReportOutcome,
    body_of,
)
from postlane.ops.output import moment_text, shortened


def lease_gist(lease: RelayLease) -> str:
    """Who says what."""
    body = body_of(lease)
    match body:
        case LeaseRequest():
            return f"{lease.written_by} {_request(body)}"
        case LeaseGrant():
            return f"to {body.holder}: {_grant(body)}"
        case RelayReport():
            return f"{lease.written_by} {_report(body)}"
        case RelaySnapshot():
            return f"{_snapshot(body)}, by {lease.written_by}"
        case None:
            return f"{lease.kind.value}, which this version does not know"
        case _:
            assert_never(body)


def _request(request: LeaseRequest) -> str:
    if request.leaving:
        return "leaves"
    needs = [f"{need.units} more of {need.budget}, has {need.has}" for need in request.needs if need.units]
    parts = [f"uses {_amounts(request.using)}", f"wants {_amounts(request.wants)}", *needs]
    return ", ".join(parts)


def _grant(grant: LeaseGrant) -> str:
    units = [f"{parcel.units} of {parcel.budget}" for parcel in grant.parcels]
    probe = ["may try the held relay"] if grant.probe else []
    held = [_hold(grant.hold)] if grant.hold is not None and not grant.probe else []
    return ", ".join([f"{_amounts(grant.amounts)} for {grant.lease_seconds:g} s", *units, *probe, *held])


def _report(report: RelayReport) -> str:
    if report.outcome is ReportOutcome.ANSWERED:
        return "heard an answer to its probe"
    return f"was refused, {report.cause}: {shortened(report.reason)}"


def _snapshot(snapshot: RelaySnapshot) -> str:
    used = [
        f"{tally.units} of {tally.budget} used until {moment_text(tally.ends_at)}"
        for tally in snapshot.tallies
    ]
    held = "takes mail" if snapshot.hold is None else _hold(snapshot.hold)
    return ", ".join([held, *used])


def _hold(hold: RelayHold) -> str:
    return f"held until {moment_text(hold.probe_at)}, {hold.cause}: {shortened(hold.reason)}"


def _amounts(amounts: Iterable[Amount]) -> str:
    return ", ".join(f"{part.amount} {part.name}" for part in amounts) or "nothing"
