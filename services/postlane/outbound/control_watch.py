"""What holds for every sender, followed: paused relays and suppressed recipients, from all partitions of mail.control.

One watch per process. Until it has read the topic to its end once it is not ready, and nothing may start: a recipient who must not be
mailed is not mailed because a process was quick. Later, while Kafka is away, what was known last goes on to hold.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.control.standing import Pause, Resumption, Standing
from postlane.core.events.command import Command, concerns_all
from postlane.ports import EventLog, LogRecord, LogUnavailable, TopicPartition

FOLLOW_SECONDS = 2.0
READ_SECONDS_MAX = 40.0  # without progress; an open transaction is over after 30 s (adapters.kafka_clients)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlWatchParts:
    """What a watch works with. On the event loop, `relay_changed` is told of every pause that begins, changes or ends (None).

    `relay_resumed` hears of every command to go on that comes while the topic is followed: older ones are about what is over.
    """

    event_log: EventLog
    codec: Codec
    topic: str
    relay_changed: Callable[[str, Pause | None], None]
    relay_resumed: Callable[[str, float], None]
    clock: Callable[[], float] = time.time


class ControlWatch:
    """Look-ups are for the event loop; reading happens in threads, one at a time."""

    def __init__(self, parts: ControlWatchParts) -> None:
        self._parts = parts
        self._standing = Standing()
        self._positions: dict[int, int] = {}
        self._told: dict[str, Pause] = {}
        self._obeyed: dict[str, Resumption] = {}
        self._loaded = False

    @property
    def ready(self) -> bool:
        """Whether the topic was read to its end once."""
        return self._loaded

    def pause_of(self, relay: str, now: float) -> Pause | None:
        """The pause of this relay, if a person has paused it."""
        return self._standing.pause_of(relay, now)

    def suppressed(self, address: str, now: float) -> str | None:
        """Why nothing may be mailed to this address (a token); None: it may be."""
        return self._standing.suppressed(address, now)

    async def run(self) -> None:
        """Load, then follow, for ever."""
        while True:
            if not self.ready:
                await self._load()
            else:
                await self._follow()
            self._tell()
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _load(self) -> None:
        """Read all of it into a new state, which then takes the place of the old one."""
        standing, positions = Standing(), dict[int, int]()
        started = time.monotonic()
        while True:
            try:
                await asyncio.to_thread(self._read, standing, positions)
                break
            except (LogUnavailable, _TopicReplaced) as error:
                log.warning("control_not_read", topic=self._parts.topic, reason=str(error))
                if isinstance(error, _TopicReplaced):
                    standing, positions = Standing(), {}
                await asyncio.sleep(FOLLOW_SECONDS)
        self._standing, self._positions = standing, positions
        self._obeyed = dict(standing.resumptions)
        self._loaded = True
        log.info(
            "control_read",
            suppressed=standing.suppressed_count,
            paused=sorted(standing.pauses),
            seconds=round(time.monotonic() - started, 1),
        )

    async def _follow(self) -> None:
        try:
            await asyncio.to_thread(self._read, self._standing, self._positions)
        except LogUnavailable as error:
            log.debug("control_not_followed", topic=self._parts.topic, reason=str(error))
        except _TopicReplaced as error:
            log.error("control_replaced", topic=self._parts.topic, reason=str(error))
            await self._load()

    def _read(self, standing: Standing, positions: dict[int, int]) -> None:
        """Apply what came since `positions`, and move them on as far as it was applied."""
        count = self._parts.event_log.partition_count(self._parts.topic)
        for partition in range(count):
            at = TopicPartition(self._parts.topic, partition)
            start, end = positions.get(partition, 0), self._parts.event_log.bounds(at).end
            if end < start:
                raise _TopicReplaced(f"partition {partition} ends at {end}, but was read up to {start}")
            batches = self._parts.event_log.read(at, start, end, READ_SECONDS_MAX, wanted=_wanted)
            for batch in batches:
                for record in batch:
                    self._apply(standing, record)
                positions[partition] = batch[-1].offset + 1
            positions[partition] = end

    def _apply(self, standing: Standing, record: LogRecord) -> None:
        try:
            command = None if record.value is None else self._parts.codec.decode(Command, record.value)
            fault = standing.apply(record.key or b"", command)
        except Undecodable as error:
            fault = str(error)
        if fault is not None:
            log.error(
                "command_unreadable",
                topic=record.at.topic,
                partition=record.at.partition,
                offset=record.offset,
                reason=fault,
            )

    def _tell(self) -> None:
        now = self._parts.clock()
        standing = self._standing
        current = {
            relay: pause for relay in list(standing.pauses) if (pause := standing.pause_of(relay, now))
        }
        told, self._told = self._told, current
        for relay in sorted(told.keys() | current.keys()):
            if told.get(relay) != current.get(relay):
                self._parts.relay_changed(relay, current.get(relay))
        obeyed, self._obeyed = self._obeyed, dict(standing.resumptions)
        for relay, command in sorted(self._obeyed.items()):
            if obeyed.get(relay) != command:
                self._parts.relay_resumed(relay, now)


class _TopicReplaced(Exception):
    """The topic ends before what was read of it: it was deleted and created anew, or has lost its end."""


def _wanted(key: bytes | None, _value: bytes | None) -> bool:
    return concerns_all(key)
