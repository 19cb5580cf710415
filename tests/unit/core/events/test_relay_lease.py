"""Every kind of record that sharing writes comes back from Avro as it was."""

from postlane.adapters.avro_codec import Codec
from postlane.core.events.relay_lease import (
    LeaseKind,
    RelayLease,
    RelayReport,
    ReportOutcome,
    body_of,
    lease_of,
)
from postlane.core.sharing.holder_events import Pass, Refused
from unit.core.sharing.lease_bench import Bench, hourly, terms


def test_all_that_is_written_survives_avro() -> None:
    bench = Bench(terms(2, hourly(20)), "a", "b")
    for name in bench.holders:
        bench.demand(name, 2, units=5)
    bench.run(5)
    leave = bench.start("a")
    assert isinstance(leave, Pass)
    bench.tell("a", Refused(leave=leave, counted=False, cause="quota", reason="550 5.4.5", wait_seconds=3.5))
    bench.run(30)
    codec = Codec()
    leases = [entry.lease for entry in bench.entries]
    assert {lease.kind for lease in leases} == set(LeaseKind) - {LeaseKind.OTHER}
    assert [codec.decode(RelayLease, codec.encode(lease)) for lease in leases] == leases


def test_a_record_without_its_part_says_nothing() -> None:
    report = RelayReport(number=1, outcome=ReportOutcome.ANSWERED, grant=1)
    assert body_of(lease_of("relay", "a", report)) == report
    assert body_of(RelayLease(relay="relay", kind=LeaseKind.GRANT, written_by="a", report=report)) is None
