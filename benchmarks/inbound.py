"""`make bench SIDE=inbound`: mails out of a real Dovecot into Kafka and the blob store, beside `mbsync` pulling the same into a maildir.

Both sync every file and its directory. They take turns on the same mailbox in one run, so that what else the machine does hits both; the ratio is
what counts. Then: the latency beyond the server's own `* EXISTS`, and the memory of a process with many idle mailboxes. Last line JSON.
"""

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fakes.dovecot import run_dovecot
from inbound_latency import measure_latency
from inbound_rate import Poll, Pull, fetch_plainly, find_mbsync, poll_all, pull
from inbound_site import USER, InboundBench, say
from localstack import kafka
from mail_samples import sample_mails


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=3, help="how often each program takes all of them")
    parser.add_argument("--idle", type=int, default=500, help="idle mailboxes in one process; 0 = leave out")
    parser.add_argument(
        "--latencies", type=int, default=200, help="mails whose latency is measured; 0 = leave out"
    )
    options = parser.parse_args()
    find_mbsync()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dovecot = stack.enter_context(run_dovecot(folder / "dovecot.log"))
        broker = kafka.Broker.create(1, folder / "kafka", folder / "kafka.log")
        kafka.format_storage(broker, [broker], kafka.kafka_uuid())
        server = stack.enter_context(kafka.launch(broker))
        kafka.wait_until_ready(server, [broker])
        figures = run(InboundBench(folder, broker.address, dovecot, server.process()), options)
    table = Table("figure", "value", title="One inbound process")
    for key, value in figures.items():
        table.add_row(key.replace("_", " "), f"{value:,.2f}")
    Console().print(table)
    print(json.dumps(figures))
    return 0


def run(bench: InboundBench, options: argparse.Namespace) -> dict[str, float]:
    """All measurements."""
    figures: dict[str, float] = {}
    if options.turns:
        figures |= rates(bench, options.mails, options.turns)
    if options.latencies:
        say(f"{options.latencies} mails, one by one")
        figures |= measure_latency(bench, options.latencies)
    if options.idle:
        say(f"{options.idle} idle mailboxes")
        figures |= {"idle_mailboxes": options.idle, "idle_memory_mb": bench.idle_memory_mb(options.idle)}
    return figures


def rates(bench: InboundBench, mails: int, turns: int) -> dict[str, float]:
    """Mails a second of each, the median of all turns, and the ratio turn by turn."""
    say(f"putting {mails} mails into the mailbox")
    size_bytes = bench.fill(sample_mails(mails), mails)
    fetches: list[float] = []
    pulls: list[Pull] = []
    polls: list[Poll] = []
    for turn in range(turns):
        fetches.append(mails / fetch_plainly(bench.dovecot, USER))
        pulls.append(pull(bench.dovecot, USER, bench.folder / "pulled"))
        polls.append(poll_all(bench, f"rate{turn}", mails))
        say(
            f"turn {turn + 1}: fetch {fetches[-1]:,.0f}, mbsync {mails / pulls[-1].seconds:,.0f}, "
            f"postlane {mails / polls[-1].seconds:,.0f} mails a second"
        )
    milliseconds = 1000 / mails
    return {
        "mails": mails,
        "megabytes": size_bytes / 1e6,
        "plain_fetch_mails_per_second": statistics.median(fetches),
        "mbsync_mails_per_second": statistics.median(mails / it.seconds for it in pulls),
        "postlane_mails_per_second": statistics.median(mails / it.seconds for it in polls),
        "ratio_to_mbsync": statistics.median(
            theirs.seconds / ours.seconds for ours, theirs in zip(polls, pulls, strict=True)
        ),
        "mbsync_cpu_ms_per_mail": milliseconds * statistics.median(it.cpu_seconds for it in pulls),
        "service_cpu_ms_per_mail": milliseconds * statistics.median(it.service_cpu_seconds for it in polls),
        "parsers_cpu_ms_per_mail": milliseconds * statistics.median(it.parsers_cpu_seconds for it in polls),
        "broker_cpu_ms_per_mail": milliseconds * statistics.median(it.broker_cpu_seconds for it in polls),
        "start_to_first_commit_seconds": statistics.median(poll.start_seconds for poll in polls),
        "memory_mb_at_a_quarter": statistics.median(poll.memory_mb_quarter for poll in polls),
        "memory_mb_at_the_end": statistics.median(poll.memory_mb_end for poll in polls),
    }


if __name__ == "__main__":
    sys.exit(main())
