"""Taking over a partition: fence the former owner, read back what Kafka knows, conclude. Blocks; runs in a thread."""

import time
from dataclasses import dataclass

import structlog

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.events.status import MailStatus
from postlane.core.events.trail import BadTrail, Done, Put, decode
from postlane.core.sending.lane_mail import Recovered
from postlane.core.sending.recovery import Found, JournalFold, Plan, StatusFold, conclude, plan_recovery
from postlane.outbound.control import ControlReader, Wishes
from postlane.outbound.forgotten_ends import find_hidden
from postlane.outbound.topics import OutboundTopics
from postlane.ports import Clock, CommitPoint, EventLog, LogWriter, TopicPartition

READ_SECONDS_MAX = 60.0  # longer than the transaction timeout: an open transaction below the end is then over

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A partition that is ours, with what is known of it and wanted of it."""

    topic_id: str
    point: CommitPoint  # what the group has committed
    recovered: Recovered
    alarms: tuple[str, ...]
    wishes: Wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOver:
    """Everything but the partition that taking over needs."""

    event_log: EventLog
    codec: Codec
    control: ControlReader
    topics: OutboundTopics
    group: str
    duplicate_window_seconds: float
    clock: Clock = time.time

    def run(self, writer: LogWriter, partition: int) -> TakenOver:
        """Become the owner of the partition. Raises Fenced and LogUnavailable; then nothing has changed but the fence."""
        writer.take_over()
        log_, topics = self.event_log, self.topics
        main = TopicPartition(topics.main, partition)
        retry, status = TopicPartition(topics.retry, partition), TopicPartition(topics.status, partition)
        revealed = self._reveal(writer, partition)
        topic_id = log_.topic_id(topics.main)
        commit = log_.committed(self.group, main)
        main_bounds, retry_bounds, status_bounds = log_.bounds(main), log_.bounds(retry), log_.bounds(status)
        plan = plan_recovery(
            Found(
                commit=None if commit is None else (commit.offset, commit.metadata),
                topic_id=topic_id,
                main_low=main_bounds.low,
                main_end=main_bounds.end,
                status_low=status_bounds.low,
                retry_low=retry_bounds.low,
            )
        )
        journal = self._read_journal(retry, plan, retry_bounds.end)
        statuses = self._read_statuses(status, plan, status_bounds.end, topic_id)
        ends = status_bounds.end, retry_bounds.end
        recovered = conclude(plan, journal, statuses, ends, topic_id)
        alarms = revealed + plan.alarms
        if recovered.truncated and not plan.truncated:
            alarms += (f"{topics.main} has lost its end: what was sent of it since may be sent again",)
        # Metadata without pointers has everything rebuilt, as it was just now.
        point = commit or CommitPoint(recovered.base, "")
        return TakenOver(topic_id, point, recovered, alarms, self.control.read(partition))

    def _reveal(self, writer: LogWriter, partition: int) -> tuple[str, ...]:
        """Make records readable whose transaction has ended without saying so in their partition; what was found.

        Every transaction of p is over by now, and nobody else writes here. But Kafka (4.3.1) takes a partition that has no leader at the
        end of a transaction for a deleted one and never marks the end there. What the same transactional id commits next is marked
        for both. The hidden records are facts, so they must count, and the last of each partition can be said twice.
        """
        hidden = find_hidden(self.event_log, self.topics, partition)
        if hidden.last:
            writer.stage(hidden.repetitions())
            writer.commit()
        return tuple(
            f"{record.at.topic}: a transaction up to offset {record.offset} was never marked as ended by the broker; it is now"
            for record in hidden.last
        )

    def _read_journal(self, at: TopicPartition, plan: Plan, end: int) -> JournalFold:
        fold = JournalFold()
        for batch in self.event_log.read(at, plan.retry_from, end, READ_SECONDS_MAX):
            for record in batch:
                try:
                    entry = decode(record.headers)
                except BadTrail as error:
                    log.error(
                        "journal_record_unreadable", topic=at.topic, offset=record.offset, reason=str(error)
                    )
                    continue
                if isinstance(entry, Put | Done):
                    fold.add(record.offset, record.key, entry, record.timestamp_ms / 1000)
        return fold

    def _read_statuses(self, at: TopicPartition, plan: Plan, end: int, topic_id: str) -> StatusFold:
        window_from = self.clock() - self.duplicate_window_seconds
        start = min(plan.status_from, self.event_log.offset_at(at, int(window_from * 1000)))
        fold = StatusFold(topic_id, window_from)
        for batch in self.event_log.read(at, start, end, READ_SECONDS_MAX):
            for record in batch:
                try:
                    fold.add(record.offset, self.codec.decode(MailStatus, record.value))
                except Undecodable as error:
                    log.error(
                        "status_record_unreadable", topic=at.topic, offset=record.offset, reason=str(error)
                    )
        return fold
