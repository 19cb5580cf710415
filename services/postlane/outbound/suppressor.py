"""Puts recipients whom relays do not know on the suppression list, once the failure that says so is durable.

Not part of any transaction (docs/decisions/0016-suppression-list.md): what is lost with a process is said again by the next refusal.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

import structlog

from postlane.adapters.avro_codec import Codec
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.core.addresses import mailbox_key
from postlane.core.events.command import Command, Wish, command_key, partition_for_all
from postlane.core.instants import moment
from postlane.core.sending.lane_mail import AttemptEnded, WriteBatch
from postlane.core.smtp.attempt import Attempted, RecipientTrouble, describe
from postlane.core.smtp.unknown_recipients import SUPPRESSING_CAUSES, unknown_recipients
from postlane.ports import EventLog, LogUnavailable, NewRecord, RecordRefused, TopicPartition

WRITE_SECONDS = 1.0
WAITING_MAX = 10_000  # beyond it some are forgotten; the next refusal says them again
END_STEP_SECONDS = 3600.0  # ends are rounded up, so that many entries share them (core.control.standing)

log = structlog.get_logger(__name__)

Place = tuple[int, str, int]
"""Partition, topic id, offset of a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressorParts:
    """What a suppressor works with; `source` is the CloudEvents source of its commands. `write` blocks and raises RecordRefused, LogUnavailable; `listed` asks the list as it is known here."""

    event_log: EventLog
    codec: Codec
    topic: str
    source: str
    instance: str
    seconds: float
    write: Callable[[Sequence[NewRecord]], object]
    listed: Callable[[str, float], str | None]
    clock: Callable[[], float] = time.time


class Suppressor:
    """On the event loop: `note` what an attempt came to, `committed` what is durable; `run` writes. `seconds` 0: none of it does anything."""

    def __init__(self, parts: SuppressorParts) -> None:
        self._parts = parts
        self._noted: dict[Place, tuple[RecipientTrouble, ...]] = {}
        self._due: dict[bytes, Command] = {}

    def note(self, partition: int, ended: AttemptEnded) -> None:
        """An attempt has ended. A failure says nothing before its status is durable; who was served after all is taken off the list."""
        if self._parts.seconds > 0 and isinstance(ended.judgement, Attempted):
            for address in ended.judgement.delivered:
                self._allow(address)
        unknown = unknown_recipients(ended.judgement) if self._parts.seconds > 0 else ()
        if not unknown:
            return
        self._noted[partition, ended.origin.topic_id, ended.origin.offset] = unknown
        if len(self._noted) > WAITING_MAX:  # their partitions were lost before the commit
            del self._noted[next(iter(self._noted))]

    def committed(self, batch: WriteBatch) -> None:
        """These statuses are durable."""
        if not self._noted:
            return
        for keyed in batch.statuses:
            place = (keyed.status.partition, keyed.status.topic_id, keyed.status.offset)
            for trouble in self._noted.pop(place, ()):
                self._suppress(trouble)

    def _suppress(self, trouble: RecipientTrouble) -> None:
        now = self._parts.clock()
        if self._parts.listed(trouble.address, now) is not None:
            return  # perhaps by a person, and for longer
        until = math.ceil((now + self._parts.seconds) / END_STEP_SECONDS) * END_STEP_SECONDS
        command = Command(
            command_id=str(uuid4()),
            issued_at=moment(now),
            issued_by=self._parts.instance,
            wish=Wish.SUPPRESS_RECIPIENT,
            reason=describe(trouble.answer),
            recipient=mailbox_key(trouble.address),
            cause=trouble.cause,
            expires_at=moment(until),
        )
        if len(self._due) < WAITING_MAX:
            self._due[command_key(command)] = command

    def _allow(self, address: str) -> None:
        """A person had the mail sent all the same, and the relay knows the address now."""
        now = self._parts.clock()
        if self._parts.listed(address, now) not in SUPPRESSING_CAUSES:
            return
        command = Command(
            command_id=str(uuid4()),
            issued_at=moment(now),
            issued_by=self._parts.instance,
            wish=Wish.ALLOW_RECIPIENT,
            reason="a relay has taken mail for it",
            recipient=mailbox_key(address),
        )
        if len(self._due) < WAITING_MAX:
            self._due[command_key(command)] = command

    async def run(self) -> None:
        """Write what is due, for ever."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            if self._due:
                await self._write_due()

    async def _write_due(self) -> None:
        commands = dict(self._due)
        try:
            await asyncio.to_thread(self._write, list(commands.items()))
        except LogUnavailable as error:
            log.debug("suppression_not_written", reason=str(error))
            return  # they are tried again
        except RecordRefused as error:
            refused = list(commands)[error.index]
            log.error("suppression_refused", recipient=commands[refused].recipient, reason=error.reason)
            del self._due[refused]
            return
        for key in commands:
            del self._due[key]
        for wish, event in (
            (Wish.SUPPRESS_RECIPIENT, "recipients_suppressed"),
            (Wish.ALLOW_RECIPIENT, "recipients_allowed"),
        ):
            if recipients := [command.recipient for command in commands.values() if command.wish is wish]:
                log.info(event, recipients=recipients)

    def _write(self, commands: Sequence[tuple[bytes, Command]]) -> None:
        parts = self._parts
        count = parts.event_log.partition_count(parts.topic)
        parts.write(
            [
                NewRecord(
                    to=TopicPartition(parts.topic, partition_for_all(key, count)),
                    key=key,
                    value=parts.codec.encode(command),
                    headers=cloud_event_headers(command, parts.source),
                )
                for key, command in commands
            ]
        )
