"""Runs `postlane` commands and services as processes, with topics and a configuration of their own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest
from confluent_kafka import Producer

from localstack.relay_client import RelayControl
from postlane.adapters.avro_codec import Codec
from postlane.adapters.kafka_log import KafkaLog
from postlane.adapters.topics import TopicAdmin, load_topics
from postlane.config.settings import Settings, load_settings
from postlane.core.events.mail import Address
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailStatus
from postlane.ports import LogRecord, TopicPartition

T = TypeVar("T")
POSTLANE = (sys.executable, "-m", "postlane.ops")
WAIT_SECONDS = (
    100.0  # a condition is waited for; only a test that fails waits so long, however busy the machine
)
STOP_SECONDS = 60.0
PARTITIONS = 3

_numbers = count(1)


def eventually(what: str, look: Callable[[], T], seconds: float = WAIT_SECONDS) -> T:
    """What `look` returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)
    return found


@dataclass
class Installation:
    """Topics with a prefix of their own, a configuration file, and processes."""

    folder: Path
    config: Path
    settings: Settings
    log: KafkaLog
    codec: Codec = field(default_factory=Codec)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return self.settings.kafka.topic(name)

    def start(self, service: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a service; its log goes to a file."""
        with (self.folder / f"{service}.log").open("ab") as log:
            process = subprocess.Popen(
                (*POSTLANE, "--config", str(self.config), service, *options), stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def produce(self, *requests: MailRequested) -> None:
        """Requests as a ticketing system produces them."""
        self.produce_raw(*((r.ticket_id.encode(), self.codec.encode(r)) for r in requests))

    def produce_raw(self, *records: tuple[bytes | None, bytes | None], partition: int = -1) -> None:
        """Any records at all."""
        producer = Producer(
            {"bootstrap.servers": self.settings.kafka.bootstrap_servers, "partitioner": "murmur2_random"}
        )
        for key, value in records:
            producer.produce(self.topic("mail.outbound"), key=key, value=value, partition=partition)
        assert producer.flush(20) == 0

    def read(self, name: str) -> list[LogRecord]:
        """All committed records of a topic, partition by partition."""
        records: list[LogRecord] = []
        for partition in range(self.log.partition_count(self.topic(name))):
            at = TopicPartition(self.topic(name), partition)
            bounds = self.log.bounds(at)
            for batch in self.log.read(at, bounds.low, bounds.end, 20.0):
                records += batch
        return records

    def statuses(self) -> list[MailStatus]:
        """All statuses."""
        return [self.codec.decode(MailStatus, record.value) for record in self.read("mail.outbound.status")]

    def ends(self) -> list[tuple[str | None, str]]:
        """(event id, state) of all final statuses."""
        return [(status.request_event_id, status.state.value) for status in self.statuses() if status.final]

    def all_committed(self) -> bool:
        """Whether the group's offset has reached the end of the main topic."""
        main, group = self.topic("mail.outbound"), self.settings.kafka.group("outbound")
        for partition in range(self.log.partition_count(main)):
            at = TopicPartition(main, partition)
            end, point = self.log.bounds(at).end, self.log.committed(group, at)
            if end and (point is None or point.offset < end):
                return False
        return True

    def stop_all(self) -> None:
        """SIGTERM, then SIGKILL for what does not listen."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def request(ticket: str, number: int, *to: str, text: str = "hello") -> MailRequested:
    """The `number`-th mail of a ticket; the subject says both."""
    return MailRequested(
        event_id=f"{ticket}-{number}",
        ticket_id=ticket,
        requested_at=datetime.now(UTC),
        from_address=Address(address="desk@desk.test"),
        to=tuple(Address(address=address) for address in to or ("alice@customer.test",)),
        subject=f"{ticket}-{number}",
        text=text,
    )


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
domain = "desk.test"
keys = {{ k1 = "a key for tests only" }}

[outbound]
{outbound}

[relays.main]
host = "{relay_host}"
port = {relay_port}
tls = "none"
username = "{relay_user}"
password = "{relay_password}"
hold_seconds = 1
hold_seconds_max = 1
{relay_options}

[http]
port = 0
"""

FAST_RETRIES = 'retry_schedule = "1s"'


@contextmanager
def installed(
    folder: Path,
    bootstrap: str,
    relay: RelayControl,
    outbound: str = FAST_RETRIES,
    *,
    relay_options: str = "",
) -> Iterator[Installation]:
    """An installation whose processes end with the block."""
    prefix = f"it{os.getpid()}-{next(_numbers)}"
    config = folder / f"{prefix}.toml"
    config.write_text(
        CONFIG.format(
            bootstrap=bootstrap,
            prefix=prefix,
            partitions=PARTITIONS,
            folder=folder,
            outbound=outbound,
            relay_host=relay.host,
            relay_port=relay.port,
            relay_user=relay.user,
            relay_password=relay.password,
            relay_options=relay_options,
        )
    )
    settings = load_settings(config)
    applied = TopicAdmin(settings.kafka).apply(load_topics(settings.kafka, settings.topics))
    assert not applied.remaining
    log = KafkaLog(settings.kafka)
    installation = Installation(folder, config, settings, log)
    try:
        yield installation
    finally:
        installation.stop_all()
        log.close()
