"""The dead letters that mails of a status answer have, and those that replays among them repeat."""

from collections.abc import Sequence
from dataclasses import dataclass

from postlane.core.dlq import DeadMail, fold
from postlane.core.events.trail import ReplayOf
from postlane.ops.dlq_log import without_value
from postlane.ops.scanning import Step, scan
from postlane.ports import Bounds, EventLog, LogRecord, TopicPartition

TRANSACTION_MS_MAX = (
    60_000  # a mail's copy is written with the status of its death; a transaction is over after 30 s
)


@dataclass(frozen=True, slots=True)
class Death:
    """A status after which a dead letter may stand in the same partition."""

    partition: int
    timestamp_ms: int
    key: bytes | None


def dead_letters(
    log: EventLog,
    topic: str,
    deaths: Sequence[Death],
    replays: Sequence[tuple[ReplayOf, bytes | None]],
    step: Step | None = None,
) -> list[DeadMail]:
    """Dead letters of these tickets (keys) from the first death or replayed letter on; nothing is read where nobody died.

    Raises LogUnavailable.
    """
    keys: set[bytes | None] = {None}  # a copy that was too large may have lost its key
    keys |= {death.key for death in deaths} | {key for _, key in replays}
    first_ms: dict[int, int] = {}
    for death in deaths:
        first_ms[death.partition] = min(death.timestamp_ms, first_ms.get(death.partition, death.timestamp_ms))
    starts = {
        partition: [log.offset_at(TopicPartition(topic, partition), at_ms - TRANSACTION_MS_MAX)]
        for partition, at_ms in first_ms.items()
    }
    partitions = log.partition_count(topic) if replays else 0
    for source, _ in replays:
        if source.partition < partitions:  # the header may be anybody's
            starts.setdefault(source.partition, []).append(source.offset)
    bounds = {partition: log.bounds(TopicPartition(topic, partition)) for partition in starts}
    spans = {
        TopicPartition(topic, partition): Bounds(
            low=max(min(offsets), bounds[partition].low), end=bounds[partition].end
        )
        for partition, offsets in starts.items()
        if min(offsets) < bounds[partition].end
    }

    def keep(record: LogRecord) -> LogRecord | None:
        return record if record.key in keys else None

    return fold(without_value(record) for record in scan(log, spans, keep, step))
