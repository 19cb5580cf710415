"""Ends of transactions that the broker forgot to mark, and what an owner does about its own (docs/decisions/0006-pending-offsets.md)."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from postlane.core.events.trail import Resolution, Resolved, encode
from postlane.outbound.topics import OutboundTopics
from postlane.ports import (
    CommitPoint,
    EventLog,
    Fenced,
    GroupMember,
    LogRecord,
    LogUnavailable,
    LogWriter,
    NewRecord,
    RecordRefused,
    TopicPartition,
    TransactionAborted,
)

STILL_SECONDS = 1.0  # an end is marked within milliseconds
OTHERS_SECONDS = (
    5.0  # so long we wait for an operator's replay, which may stand before us in the dead letters
)
LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 0.002, 0.1
NO_OFFSET = 10**18 - 1  # no dead letter will ever stand there

log = structlog.get_logger(__name__)


class EndUndone(Exception):
    """What was committed may have been undone; the committed offset stands before it, so the partition must be taken over anew."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """The last record of each of p's partitions that no consumer can read, because a transaction lacks its end there."""

    last: tuple[LogRecord, ...]
    dlq: str

    def repetitions(self) -> list[NewRecord]:
        """What, committed by the same transactional id, commits them as well: the last of each partition is said twice."""
        return [_resolve_nothing(one.at) if one.at.topic == self.dlq else _again(one) for one in self.last]


def find_hidden(event_log: EventLog, topics: OutboundTopics, partition: int) -> Hidden:
    """Look into the partitions that p's owner writes. Raises LogUnavailable."""
    places = (TopicPartition(topic, partition) for topic in (topics.retry, topics.status, topics.dlq))
    return Hidden(tuple(record for at in places if (record := event_log.hidden(at)) is not None), topics.dlq)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndsParts:
    """Of one partition's owner."""

    event_log: EventLog
    topics: OutboundTopics
    writer: LogWriter
    member: GroupMember
    main: TopicPartition


class CommittedEnds:
    """Sees to it that what was committed can be read before anything else is begun: the abort of a later transaction would undo it.

    For the thread that uses the writer; `point` is what the group has committed so far.
    """

    def __init__(self, parts: EndsParts, point: CommitPoint) -> None:
        self._parts = parts
        self._point = point
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Let a `see` that waits end."""
        self._given_up.set()

    def see(self, written: Mapping[TopicPartition, int], point: CommitPoint) -> None:
        """Wait until the last of these offsets can be read, and end what the broker forgot to; `point` was committed with them.

        Raises LogUnavailable and TransactionAborted (to be called again), Fenced, EndUndone.
        """
        began = time.monotonic()
        due, pause, ended = began + STILL_SECONDS, LOOK_SECONDS_MIN, False
        while hidden := self._unreadable(written):
            now = time.monotonic()
            shared = all(at.topic == self._parts.topics.dlq for at in hidden)
            if ended and shared and now - began >= OTHERS_SECONDS:
                log.warning("dead_letters_behind_others", partition=self._parts.main.partition)
                break
            if now >= due and not (ended and shared):
                self._end(point)
                ended, due = True, time.monotonic() + STILL_SECONDS
            if self._given_up.wait(pause):
                raise Fenced(f"partition {self._parts.main.partition} was given up")
            pause = min(2 * pause, LOOK_SECONDS_MAX)
        self._point = point

    def _unreadable(self, written: Mapping[TopicPartition, int]) -> list[TopicPartition]:
        stable = self._parts.event_log.ends(written.keys(), stable=True)
        return [at for at, offset in written.items() if stable[at] <= offset]

    def _end(self, point: CommitPoint) -> None:
        """Mark the forgotten ends. Should we die meanwhile, that marks an abort, so the offset is set back first: nobody passes what is gone."""
        parts = self._parts
        hidden = find_hidden(parts.event_log, parts.topics, parts.main.partition)
        if not hidden.last:
            return
        parts.writer.stage([])
        parts.writer.commit(parts.member, ((parts.main, self._point),))
        try:
            parts.writer.stage(hidden.repetitions())
            parts.writer.commit(parts.member, ((parts.main, point),))
        except (TransactionAborted, LogUnavailable, RecordRefused) as error:
            raise EndUndone(
                f"partition {parts.main.partition}: a forgotten end was not marked: {error}"
            ) from None
        log.warning(
            "forgotten_end_marked",
            partition=parts.main.partition,
            topics=[one.at.topic for one in hidden.last],
        )


def _again(record: LogRecord) -> NewRecord:
    return NewRecord(to=record.at, key=record.key, value=record.value, headers=record.headers)


def _resolve_nothing(at: TopicPartition) -> NewRecord:
    """A dead letter said twice would be replayed twice."""
    nothing = Resolved(
        dead_offset=NO_OFFSET,
        resolution=Resolution.DISCARDED,
        resolved_at_ms=0,
        reason="no dead letter is meant: this record ends a transaction that the broker had forgotten",
    )
    return NewRecord(to=at, key=None, value=None, headers=encode(nothing))
