"""What Kafka holds at the end of a run, read as any other program would read it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # not in its __all__

from chaos.site import PARTITIONS, Site
from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState, MailStatus
from postlane.core.events.trail import Dead, Done, Put, Resolved, decode, decode_replay
from postlane.core.sending.recovery import JournalFold
from postlane.ports import LogRecord, LogUnavailable, TopicPartition

READ_SECONDS_MAX = 60.0
ANSWER_SECONDS = 10.0
_OFFSETS: Any = OffsetSpec  # its methods carry no types
TOPICS = ("mail.outbound", "mail.outbound.retry", "mail.outbound.status", "mail.outbound.dlq")
Place = tuple[int, int]  # partition and offset


@dataclass(frozen=True, slots=True)
class Requested:
    """A record of the main topic, `at` seconds since 1970; `mail_id` None where it is no request."""

    mail_id: str | None
    recipients: tuple[str, ...]
    replay: bool
    at: float


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead-letter record; `recipients` None = all of its request."""

    origin: Place
    recipients: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Step:
    """What a status says that limits may have to do with."""

    state: MailState
    final: bool
    cause: str
    attempt: int


@dataclass(slots=True)
class Findings:
    """`requested`, `ends`, `steps` by place in the main topic; `open_dead` by place in the dead-letter topic."""

    requested: dict[Place, Requested] = field(default_factory=dict)
    ends: dict[Place, list[MailState]] = field(default_factory=dict)
    steps: dict[Place, list[Step]] = field(default_factory=dict)
    dead: dict[Place, Buried] = field(default_factory=dict)
    resolved: set[Place] = field(default_factory=set)
    parked: int = 0
    behind: list[str] = field(default_factory=list)
    open_transactions: list[str] = field(default_factory=list)

    def note(self, partition: int, status: MailStatus) -> None:
        """Take a status in."""
        place = partition, status.offset
        if status.final:
            self.ends.setdefault(place, []).append(status.state)
        step = Step(status.state, status.final, status.cause, status.attempt)
        self.steps.setdefault(place, []).append(step)


class Auditor:
    """Raises LogUnavailable while the broker is away."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._codec = Codec()

    def unrest(self) -> list[str]:
        """Why the run is not over, as far as Kafka says."""
        parked = self.parked()
        waiting = [f"{parked} mails are parked in the journal"] if parked else []
        return [*self.behind(), *waiting, *self.open_transactions()]

    def behind(self) -> list[str]:
        """Partitions with records above the committed offset; a replay's transaction marker is none."""
        log, main = self._site.log, self._site.settings.kafka.topic("mail.outbound")
        group = self._site.settings.kafka.group("outbound")
        late = []
        for partition in range(PARTITIONS):
            at = TopicPartition(main, partition)
            point = log.committed(group, at)
            start, end = 0 if point is None else point.offset, log.bounds(at).end
            left = sum(len(batch) for batch in log.read(at, start, end, READ_SECONDS_MAX))
            if left:
                late.append(f"{main} {partition}: {left} records lie above the committed offset {start}")
        return late

    def parked(self) -> int:
        """How many mails the journal holds alive."""
        return sum(self._parked(partition) for partition in range(PARTITIONS))

    def open_transactions(self) -> list[str]:
        """See the function."""
        return open_transactions(self._site, TOPICS)

    def read_all(self) -> Findings:
        """Everything, record by record."""
        findings = Findings(
            behind=self.behind(), parked=self.parked(), open_transactions=self.open_transactions()
        )
        topic_id = self._site.log.topic_id(self._site.settings.kafka.topic("mail.outbound"))
        said: set[str] = set()  # a new owner may have said one twice (docs/decisions/0006)
        for partition in range(PARTITIONS):
            for record in self._records("mail.outbound", partition):
                findings.requested[partition, record.offset] = self._requested(record)
            for record in self._records("mail.outbound.status", partition):
                status = self._codec.decode(MailStatus, record.value)
                if status.topic_id == topic_id and status.status_id not in said:
                    findings.note(partition, status)
                said.add(status.status_id)
            for record in self._records("mail.outbound.dlq", partition):
                entry = decode(record.headers)
                if isinstance(entry, Dead):
                    origin = entry.partition, entry.origin.offset
                    findings.dead[partition, record.offset] = Buried(origin, entry.remaining)
                elif isinstance(entry, Resolved):
                    findings.resolved.add((partition, entry.dead_offset))
        return findings

    def _requested(self, record: LogRecord) -> Requested:
        replay, remaining = decode_replay(record.headers)
        at = record.timestamp_ms / 1000
        try:
            request = self._codec.decode(MailRequested, record.value)
        except Undecodable:
            return Requested(None, (), replay is not None, at)
        recipients = remaining or tuple(address.address for address in request.to)
        return Requested(request.event_id, recipients, replay is not None, at)

    def _parked(self, partition: int) -> int:
        fold = JournalFold()
        for record in self._records("mail.outbound.retry", partition):
            entry = decode(record.headers)
            if isinstance(entry, Put | Done):
                fold.add(record.offset, record.key, entry)
        return len(fold.parked(""))

    def _records(self, name: str, partition: int) -> Iterator[LogRecord]:
        log, at = self._site.log, TopicPartition(self._site.settings.kafka.topic(name), partition)
        bounds = log.bounds(at)
        for batch in log.read(at, bounds.low, bounds.end, READ_SECONDS_MAX):
            yield from batch


def open_transactions(site: Site, topics: Sequence[str]) -> list[str]:
    """Partitions that end for readers of committed records before they end for all others. Raises LogUnavailable."""
    ends = _ends(site, topics, IsolationLevel.READ_UNCOMMITTED)
    return [
        f"{topic} {partition}: readable up to {stable} of {ends[topic, partition]}"
        for (topic, partition), stable in _ends(site, topics, IsolationLevel.READ_COMMITTED).items()
        if stable < ends[topic, partition]
    ]


def _ends(site: Site, topics: Sequence[str], isolation: IsolationLevel) -> dict[tuple[str, int], int]:
    # A client of its own each time: an old one would ask with the leader epoch of before a restart.
    admin = AdminClient({"bootstrap.servers": site.cluster.bootstrap, "log_level": 0})
    places = [
        KafkaTopicPartition(site.settings.kafka.topic(name), partition)
        for name in topics
        for partition in range(PARTITIONS)
    ]
    answers = admin.list_offsets(
        dict.fromkeys(places, _OFFSETS.latest()), isolation_level=isolation, request_timeout=ANSWER_SECONDS
    )
    try:
        return {
            (place.topic, place.partition): answer.result(2 * ANSWER_SECONDS).offset
            for place, answer in answers.items()
        }
    except KafkaException as error:
        raise LogUnavailable(f"ends of the topics: {error}") from None
