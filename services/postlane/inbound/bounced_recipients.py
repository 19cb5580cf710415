"""Puts recipients whose mail came back for good on the suppression list, once the feedback that says so is durable.

As docs/decisions/0016-suppression-list.md and 0022-feedback.md want it: a plain producer after the commit, and only where the list has no entry that stands
against it. What is lost with a process is said again by the next bounce.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import structlog

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.core.addresses import mailbox_key
from postlane.core.control.additions import may_suppress
from postlane.core.events.command import Command, Wish, command_key, partition_for_all
from postlane.core.events.feedback import MailFeedback
from postlane.core.instants import moment
from postlane.core.reports.feedback import suppressing_reply
from postlane.core.smtp.smtp_reply import Classifier, one_line
from postlane.core.smtp.unknown_recipients import SUPPRESSING_CAUSES
from postlane.inbound.records import SOURCE
from postlane.ports import EventLog, LogUnavailable, NewRecord, RecordRefused, TopicPartition

WRITE_SECONDS = 5.0  # each round reads the partitions concerned, so several bounces share one
READ_SECONDS_MAX = 60.0  # longer than the transaction timeout
WAITING_MAX = 10_000  # beyond it some are forgotten; the next bounce says them again
REASON_CHARACTERS_MAX = 500
END_STEP_SECONDS = 3600.0  # ends are rounded up, so that many entries share them (core.control.standing)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BouncedParts:
    """`topic` is mail.control's full name, `seconds` how long an entry lasts (0: none is made). `write` blocks and raises RecordRefused, LogUnavailable."""

    event_log: EventLog
    codec: Codec
    classifier: Classifier
    topic: str
    instance: str
    seconds: float
    write: Callable[[Sequence[NewRecord]], object]
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class _Due:
    command: Command
    reported_at: datetime


class BouncedRecipients:
    """`hear` what is durable; `run` writes what it comes to."""

    def __init__(self, parts: BouncedParts) -> None:
        self._parts = parts
        self._due: dict[bytes, _Due] = {}

    def hear(self, feedback: MailFeedback) -> None:
        """Note a recipient whom the reply rules, too, call unknown; everything else is passed over."""
        reply = suppressing_reply(feedback)
        mailbox = mailbox_key(feedback.recipient or "")
        if self._parts.seconds <= 0 or reply is None or mailbox is None or len(self._due) >= WAITING_MAX:
            return
        cause = self._parts.classifier.classify(reply).cause
        if cause not in SUPPRESSING_CAUSES:
            return
        now = self._parts.clock()
        ends = min(now, feedback.reported_at.timestamp()) + self._parts.seconds
        if ends <= now:  # an old bounce, read late or again: mailboxes come back
            return
        until = math.ceil(ends / END_STEP_SECONDS) * END_STEP_SECONDS
        command = Command(
            command_id=str(uuid4()),
            issued_at=moment(now),
            issued_by=self._parts.instance,
            wish=Wish.SUPPRESS_RECIPIENT,
            reason=one_line(
                f"bounced: {reply.code} {reply.enhanced_code} {reply.text}", REASON_CHARACTERS_MAX
            ),
            recipient=mailbox,
            cause=cause,
            expires_at=moment(until),
        )
        self._due[command_key(command)] = _Due(command, feedback.reported_at)

    async def run(self) -> None:
        """Write what is due, for ever."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write_due()

    async def write_due(self) -> None:
        """One round; what Kafka does not take stays for the next."""
        due = dict(self._due)
        if not due:
            return
        try:
            written = await asyncio.to_thread(self._write, due)
        except LogUnavailable as error:
            log.debug("suppression_not_written", reason=str(error))
            return
        except RecordRefused as error:
            log.error("suppression_refused", reason=error.reason)
            written = []
        for key in due:
            del self._due[key]
        if written:
            log.info("recipients_suppressed", recipients=written)

    def _write(self, due: dict[bytes, _Due]) -> list[str | None]:
        parts = self._parts
        count = parts.event_log.partition_count(parts.topic)
        places = {key: TopicPartition(parts.topic, partition_for_all(key, count)) for key in due}
        newest = self._newest(set(places.values()), frozenset(due))
        now = moment(parts.clock())
        wanted = {
            key: one.command
            for key, one in due.items()
            if may_suppress(newest.get(key), one.reported_at, now)
        }
        records = [
            NewRecord(
                to=places[key],
                key=key,
                value=parts.codec.encode(command),
                headers=cloud_event_headers(command, SOURCE),
            )
            for key, command in wanted.items()
        ]
        if records:
            parts.write(records)
        return [command.recipient for command in wanted.values()]

    def _newest(self, places: Iterable[TopicPartition], keys: frozenset[bytes]) -> dict[bytes, Command]:
        """The newest commands about these addresses. Raises LogUnavailable."""
        found: dict[bytes, Command] = {}
        for at in places:
            bounds = self._parts.event_log.bounds(at)
            batches = self._parts.event_log.read(
                at, bounds.low, bounds.end, READ_SECONDS_MAX, wanted=lambda key, _value: key in keys
            )
            for record in (record for batch in batches for record in batch):
                if record.key not in keys:
                    continue
                found.pop(record.key, None)
                if record.value is not None:
                    try:
                        found[record.key] = self._parts.codec.decode(Command, record.value)
                    except Undecodable as error:
                        log.error(
                            "command_unreadable", topic=at.topic, offset=record.offset, reason=str(error)
                        )
        return found
