"""`make bench`: how fast one sender process is, what waiting tickets cost the others, what recovery costs. Last line JSON.

Everything runs on this machine: a real broker, a light SMTP sink in a process of its own, one `postlane outbound`.
"""

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from localstack import kafka
from postlane.adapters.avro_codec import Codec
from postlane.adapters.kafka_log import KafkaLog
from postlane.adapters.topics import TopicAdmin, load_topics
from postlane.config.settings import Settings, load_settings
from postlane.core.events.mail import Address
from postlane.core.events.request import MailRequested
from postlane.core.events.status import Origin
from postlane.core.events.trail import Put, encode
from postlane.core.partitioner import partition_of
from postlane.ports import TopicPartition

PARTITIONS = 4
TICKETS = 1000
WAIT_SECONDS = 300.0
CONFIG = """\
[kafka]
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}."
group_prefix = "{prefix}"
[topics]
partitions = {partitions}
replication_factor = 1
min_insync_replicas = 1
[blobs]
directory = "{folder}/blobs"
[signing]
domain = "bench.test"
keys = {{ k1 = "a key for benchmarks" }}
[outbound]
retry_schedule = "1h"
[relays.main]
host = "127.0.0.1"
port = {port}
tls = "none"
connections = 20
mails_per_connection = 10000
[http]
port = 0
[logs]
level = "warning"
"""


class Bench:
    """A broker's topics and a sender for one measurement."""

    def __init__(self, folder: Path, bootstrap: str, port: int, prefix: str) -> None:
        self.config = folder / f"{prefix}.toml"
        self.config.write_text(
            CONFIG.format(bootstrap=bootstrap, prefix=prefix, partitions=PARTITIONS, folder=folder, port=port)
        )
        self.settings: Settings = load_settings(self.config)
        TopicAdmin(self.settings.kafka).apply(load_topics(self.settings.kafka, self.settings.topics))
        self.log = KafkaLog(self.settings.kafka)
        self.codec = Codec()
        self.main = self.settings.kafka.topic("mail.outbound")
        self.producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "partitioner": "murmur2",
                "linger.ms": 20,
                "message.max.bytes": 2**21,
            }
        )

    def produce(self, mails: int, slow_share: float) -> None:
        """Requests for TICKETS tickets; those of the first share of them are put off by the sink."""
        slow = int(TICKETS * slow_share)
        for number in range(mails):
            ticket = number % TICKETS
            to = "slow@bench.test" if ticket < slow else "fast@bench.test"
            self.producer.produce(self.main, self.codec.encode(request(ticket, number, to)), f"t{ticket}")
            self.producer.poll(0)
        self.producer.flush()

    def park(self, mails: int) -> None:
        """Journal records as a sender writes them, due in an hour, and the main topic read beyond them."""
        retry, due = self.settings.kafka.topic("mail.outbound.retry"), time.time() + 3600
        offsets = [0] * PARTITIONS
        topic_id = self.log.topic_id(self.main)
        for number in range(mails):
            key = f"t{number}".encode()
            partition = partition_of(key, PARTITIONS)
            put = Put(
                origin=Origin(topic_id, offsets[partition]),
                attempt=1,
                first_seen_ms=int(time.time() * 1000),
                due_ms=int(due * 1000),
                remaining=None,
                held=0,
                cause="bench",
                reason="parked for the benchmark",
            )
            offsets[partition] += 1
            value = self.codec.encode(request(number, number, "fast@bench.test"))
            self.producer.produce(retry, value, key, partition, headers=list(encode(put)))
            self.producer.produce(self.main, value, key, partition)
            self.producer.poll(0)
        self.producer.flush()

    @contextmanager
    def sender(self) -> Iterator[psutil.Process]:
        """One sender process."""
        command = (sys.executable, "-m", "postlane.ops", "--config", str(self.config), "outbound")
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                yield psutil.Process(process.pid)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(20)

    def committed(self) -> bool:
        """Whether the group's offsets have reached the end."""
        group = self.settings.kafka.group("outbound")
        for partition in range(PARTITIONS):
            at = TopicPartition(self.main, partition)
            point, end = self.log.committed(group, at), self.log.bounds(at).end
            if end and (point is None or point.offset < end):
                return False
        return True


def request(ticket: int, number: int, to: str) -> MailRequested:
    """A mail of about 2 KB."""
    return MailRequested(
        event_id=f"e{number}",
        ticket_id=f"t{ticket}",
        requested_at=datetime.now(UTC),
        from_address=Address(address="desk@bench.test"),
        to=(Address(address=to),),
        subject=f"Ticket {ticket}, mail {number}",
        text="A line of an answer that is as long as such lines are.\n" * 35,
    )


def taken(port: int) -> int:
    """How many mails the sink has."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        lines = connection.makefile("rwb")
        lines.readline()
        lines.write(b"COUNT\r\n")
        lines.flush()
        return int(lines.readline())


def measure_rate(bench: Bench, port: int, mails: int, slow_share: float) -> float:
    """Mails per second from the first mail at the sink to the last one."""
    bench.produce(mails, slow_share)
    expected = sum(number % TICKETS >= int(TICKETS * slow_share) for number in range(mails))
    before = taken(port)
    with bench.sender():
        wait(lambda: taken(port) - before > 0)
        started, first = time.monotonic(), taken(port) - before
        wait(lambda: taken(port) - before >= expected)
        seconds = time.monotonic() - started
        wait(bench.committed)
    return (expected - first) / seconds


def measure_recovery(bench: Bench, mails: int) -> tuple[float, float]:
    """Seconds until a new owner has taken over that many parked mails, and its memory in MB."""
    if mails:
        bench.park(mails)
    started = time.monotonic()
    with bench.sender() as process:
        if mails:
            wait(bench.committed)
        else:
            time.sleep(8)  # nothing to wait for: let it join and settle
        seconds = time.monotonic() - started
        return seconds, process.memory_info().rss / 1e6


def wait(look: Callable[[], bool]) -> None:
    """Until `look()` is true."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark does not get on")
        time.sleep(0.02)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--parked", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, light_sink() as port:
        folder = Path(name)
        broker = kafka.Broker.create(1, folder / "kafka", folder / "kafka.log")
        kafka.format_storage(broker, [broker], kafka.kafka_uuid())
        with kafka.launch(broker) as server:
            kafka.wait_until_ready(server, [broker])
            figures = run(folder, broker.address, port, options)
    table = Table("figure", "value", title="One sender process")
    for key, value in figures.items():
        table.add_row(key.replace("_", " "), f"{value:,.2f}")
    Console().print(table)
    print(json.dumps(figures))
    return 0


def run(folder: Path, bootstrap: str, port: int, options: argparse.Namespace) -> dict[str, float]:
    """All measurements, each on topics of its own."""
    say(
        f"{options.mails} mails, then again with 10% of the tickets waiting, then {options.parked} parked: some minutes"
    )
    plain = measure_rate(Bench(folder, bootstrap, port, "plain"), port, options.mails, 0.0)
    say(f"{plain:,.0f} mails a second")
    mixed = measure_rate(Bench(folder, bootstrap, port, "mixed"), port, options.mails, 0.1)
    say(f"{mixed:,.0f} mails a second with 10% of the tickets waiting")
    _, idle_mb = measure_recovery(Bench(folder, bootstrap, port, "idle"), 0)
    seconds, parked_mb = measure_recovery(Bench(folder, bootstrap, port, "parked"), options.parked)
    return {
        "mails_per_second": plain,
        "mails_per_second_with_10_percent_waiting": mixed,
        "ratio": mixed / plain,
        "parked_mails": options.parked,
        "start_to_caught_up_seconds": seconds,
        "memory_mb_idle": idle_mb,
        "memory_mb_with_parked": parked_mb,
    }


def say(words: str) -> None:
    """Where the benchmark stands, on stderr."""
    print(words, file=sys.stderr, flush=True)


@contextmanager
def light_sink() -> Iterator[int]:
    """The sink's port."""
    script = Path(__file__).with_name("light_sink.py")
    with subprocess.Popen((sys.executable, str(script)), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
