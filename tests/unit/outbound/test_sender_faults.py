"""Faults of our own, which nobody foresaw: no mail is lost for them, and none is sent again and again."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fakes.memory_log import MemoryLog
from fakes.memory_sink import MemorySink
from fakes.relay_script import RelayScript
from postlane.adapters.avro_codec import Codec
from postlane.adapters.blob_directory import BlobDirectory
from postlane.adapters.http_health import Health
from postlane.adapters.metrics import Metrics
from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.lanes import LanesPolicy
from postlane.core.metrics import OUTBOUND_METRICS
from postlane.core.mime_build import BuildPolicy
from postlane.core.relay_gate import GatePolicy, RelayGate
from postlane.core.rest import RestPolicy
from postlane.core.retry import RetryPolicy
from postlane.core.status import MailState, MailStatus
from postlane.core.ticket_marks import SigningKeys
from postlane.core.transcript import Envelope, Transcript
from postlane.outbound import committer
from postlane.outbound.gauges import Gauges
from postlane.outbound.intake import Intake
from postlane.outbound.journal_reader import JournalReader
from postlane.outbound.membership import Membership
from postlane.outbound.records import RecordWriter
from postlane.outbound.relay_desk import RelayDesk
from postlane.outbound.sender import Sender, SenderParts
from postlane.outbound.takeover import TakeOver
from postlane.outbound.topics import OutboundTopics
from postlane.ports import LogUnavailable, NewRecord, TopicPartition
from unit.core.lane_bench import request

CODEC = Codec()
TOPICS = OutboundTopics(main="main", retry="retry", status="status", dlq="dlq")
SOON = 0.05
CONNECTIONS = 4
UNCOMMITTED_MAX = 10
ATTEMPTS_MAX = 3
WAIT_SECONDS = 20.0


@dataclass
class Site:
    log: MemoryLog
    sink: MemorySink
    sender: Sender
    health: Health
    metrics: Metrics
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def produce(self, *tickets: str) -> None:
        before, self.log.before = self.log.before, lambda _operation: None
        writer = self.log.writer("producer")
        writer.take_over()
        at = TopicPartition("main", 0)
        writer.stage(
            [
                NewRecord(to=at, key=t.encode(), value=CODEC.encode(request(t, f"{t}-{n}-{time.time_ns()}")))
                for n, t in enumerate(tickets)
            ]
        )
        writer.commit()
        self.log.before = before

    def faults(self, kind: str) -> int:
        """How often a partition was given up."""
        name = f'postlane_partition_faults_total{{kind="{kind}"}}'.encode()
        lines = [line for line in self.metrics.exposition().splitlines() if line.startswith(name)]
        return int(float(lines[0].split()[1])) if lines else 0

    def ends(self) -> list[MailState]:
        at = TopicPartition("status", 0)
        batches = self.log.read(at, 0, self.log.bounds(at).end, 1.0)
        statuses = [CODEC.decode(MailStatus, record.value) for batch in batches for record in batch]
        return [status.state for status in statuses if status.final]


async def until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not seen():  # noqa: ASYNC110 - what is waited for is in the log's and the sink's hands
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(tmp_path: Path, rest: RestPolicy, sink: MemorySink | None = None) -> AsyncIterator[Site]:
    log = MemoryLog()
    for topic in ("main", "retry", "status", "dlq"):
        log.create_topic(topic, 1)
    sink = sink or MemorySink()
    metrics, blobs, intake = Metrics(OUTBOUND_METRICS), BlobDirectory(tmp_path), Intake(CODEC)
    health = Health(metrics, time.monotonic)
    gate = RelayGate("r", GatePolicy(connections=CONNECTIONS, hold_seconds=SOON, hold_seconds_max=SOON))
    retry = RetryPolicy(
        delays_seconds=(SOON,) * (ATTEMPTS_MAX - 1) + (7200.0,),
        jitter_share=0.0,
        age_max_seconds=3600,
        memory_delay_seconds=20,
    )
    sender = Sender(
        SenderParts(
            topics=TOPICS,
            instance="test",
            take_over=TakeOver(
                event_log=log, codec=CODEC, topics=TOPICS, group="g", duplicate_window_seconds=0.0
            ),
            intake=intake,
            journal=JournalReader(log, "retry", intake, blobs),
            writer=lambda partition: log.writer(f"g-{partition}"),
            records=lambda partition: RecordWriter(CODEC, TOPICS, partition, "/test"),
            blobs=blobs,
            desk=RelayDesk(
                gate,
                sink,
                blobs,
                load_classifier().classify,
                BuildPolicy(keys=SigningKeys(active="1", keys={"1": b"k" * 32}, domain="example.com")),
            ),
            policy=LanesPolicy(
                retry=retry,
                window_mails=100,
                window_bytes=2**20,
                uncommitted_max=UNCOMMITTED_MAX,
                duplicate_window_seconds=0.0,
            ),
            gauges=Gauges(metrics),
            health=health,
            commit_interval_seconds=0.01,
            drain_seconds=2.0,
            rest=rest,
        )
    )
    site = Site(log, sink, sender, health, metrics)
    member = log.join("g", "main", Membership(sender, asyncio.get_running_loop(), 2.0))
    sender.joined(member)
    loop = asyncio.create_task(sender.run(site.stop))
    try:
        yield site
    finally:
        site.stop.set()
        await loop
        await asyncio.to_thread(member.close)


def failing(operation: str, error: Exception) -> Callable[[str], None]:
    def before(called: str) -> None:
        if called == operation:
            raise type(error)(*error.args)

    return before


@pytest.fixture(autouse=True)
def _quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(committer, "BACK_OFF_SECONDS", (0.001,))
    with capture_logs():  # a traceback in colours takes longer than the test
        yield


REST = RestPolicy(rests=(SOON, SOON, 3600.0), caution=3600.0, calm=3600.0)


@pytest.mark.parametrize("operation", ["stage", "commit"])
async def test_a_commit_that_fails_for_good_does_not_mail_the_same_again_and_again(
    tmp_path: Path, operation: str
) -> None:
    """Seen once: a schema registry that refused us after the fact, and the same mail 650 times an hour."""
    async with running(tmp_path, REST) as site:
        site.log.before = failing(operation, ZeroDivisionError("nobody thought of it"))
        site.produce(*(f"t{n}" for n in range(30)))
        await until(lambda: site.faults("fault") == 3)
        most = UNCOMMITTED_MAX + CONNECTIONS  # when the fault first showed
        assert len(site.sink.taken) <= most + 2  # one at a time after the first take-over
        assert not site.health.ready()
        assert "rests after fault 3" in site.health.components()["partitions"].reason
    assert site.ends() == []


async def test_after_a_fault_all_mail_goes_out_in_the_end(tmp_path: Path) -> None:
    async with running(tmp_path, REST) as site:
        site.log.before = failing("commit", ZeroDivisionError("nobody thought of it"))
        site.produce("t", "t", "u")
        await until(lambda: site.faults("fault") == 1)
        site.log.before = lambda _operation: None
        await until(lambda: site.ends() == [MailState.SENT] * 3)
        assert site.health.ready()


async def test_a_passing_fault_of_a_commit_repeats_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, REST) as site:
        errors = [ZeroDivisionError("once"), LogUnavailable("twice")]

        def before(called: str) -> None:
            if called == "stage" and errors:
                raise errors.pop()

        site.log.before = before
        site.produce("t", "u")
        await until(lambda: site.ends() == [MailState.SENT] * 2)
        assert len(site.sink.taken) == 2
        assert site.faults("fault") == 0


class FaultySink(MemorySink):
    """Fails as no relay does, after it took the mail."""

    async def send(self, envelope: Envelope, message: bytes) -> Transcript:
        await super().send(envelope, message)
        raise ZeroDivisionError("nobody thought of it")


async def test_a_fault_in_an_attempt_counts_as_an_attempt(tmp_path: Path) -> None:
    async with running(tmp_path, REST, FaultySink()) as site:
        site.produce("t")
        await until(lambda: site.ends() == [MailState.EXPIRED])
        assert len(site.sink.taken) == ATTEMPTS_MAX
        assert site.faults("fault") == 0


async def test_words_that_no_event_can_carry_are_left_out(tmp_path: Path) -> None:
    script = RelayScript(accepts="250 taken by \udcff")  # half a character, which UTF-8 does not have
    async with running(tmp_path, REST, MemorySink(script)) as site:
        site.produce("t", "u")
        await until(lambda: site.ends() == [MailState.SENT] * 2)
        assert len(site.sink.taken) == 2
        assert site.faults("fault") == 0
