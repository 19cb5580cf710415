"""Reads what operators want of the tickets of one partition."""

from dataclasses import dataclass

import structlog

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.events.command import Command, concerns_all
from postlane.ports import EventLog, TopicPartition

READ_SECONDS_MAX = 20.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wishes:
    """Commands in the order in which they were given, and the offset up to which the topic was read."""

    commands: tuple[Command, ...]
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlReader:
    """Partition p of the control topic is about partition p of the main topic. Blocks; runs in a thread."""

    event_log: EventLog
    codec: Codec
    topic: str

    def read(self, partition: int, start: int = 0) -> Wishes:
        """All commands from `start` on. Raises LogUnavailable."""
        at = TopicPartition(self.topic, partition)
        end = self.event_log.bounds(at).end
        if end <= start:
            return Wishes((), start)
        found: list[Command] = []
        for batch in self.event_log.read(at, start, end, READ_SECONDS_MAX, wanted=_concerns_owner):
            for record in batch:
                if record.value is None:
                    continue  # a key that was cleaned away: whatever it wanted was obeyed or is no longer wanted
                try:
                    found.append(self.codec.decode(Command, record.value))
                except Undecodable as error:
                    log.error("command_unreadable", topic=at.topic, offset=record.offset, reason=str(error))
        return Wishes(tuple(found), end)


def _concerns_owner(key: bytes | None, _value: bytes | None) -> bool:
    """There may be a million suppressed recipients beside what the owner of a partition has to hear."""
    return not concerns_all(key)
