"""Reads parked mails back from the journal when they are due."""

import asyncio
from collections.abc import Sequence

import structlog

from postlane.core.events.trail import BadTrail, decode_claim
from postlane.core.sending.lane_mail import Load, Loaded
from postlane.outbound.intake import Intake
from postlane.ports import (
    BlobMissing,
    BlobStore,
    BlobStoreError,
    EventLog,
    LogRecord,
    LogUnavailable,
    TopicPartition,
)

log = structlog.get_logger(__name__)


class JournalReader:
    """Shared by all partitions of a process."""

    def __init__(self, event_log: EventLog, topic: str, intake: Intake, blobs: BlobStore) -> None:
        self._log = event_log
        self._topic = topic
        self._intake = intake
        self._blobs = blobs

    async def load(self, partition: int, loads: Sequence[Load]) -> tuple[list[Loaded], list[Load]]:
        """The contents of these puts (None = the record is gone), and the loads to ask for again a little later."""
        at = TopicPartition(self._topic, partition)
        offsets = sorted(load.retry_offset for load in loads)
        try:
            records = await asyncio.to_thread(self._log.fetch_at, at, offsets)
        except LogUnavailable as error:
            log.warning("journal_unavailable", partition=partition, reason=str(error))
            return [], list(loads)
        found = {record.offset: record for record in records}
        loaded: list[Loaded] = []
        unready: list[Load] = []
        for load in loads:
            try:
                loaded.append(await self._loaded(load, found.get(load.retry_offset)))
            except (LogUnavailable, BlobStoreError) as error:
                log.warning("parked_mail_unavailable", origin=load.origin.offset, reason=str(error))
                unready.append(load)
        return loaded, unready

    async def _loaded(self, load: Load, record: LogRecord | None) -> Loaded:
        if record is None:
            log.error("journal_record_lost", offset=load.retry_offset, origin=load.origin.offset)
            return Loaded(load.origin, None, load.refresh)
        try:
            claim = decode_claim(record.headers)
            value = record.value if claim is None else await self._blobs.get(claim)
        except (BadTrail, BlobMissing) as error:
            log.error(
                "journal_record_lost", offset=load.retry_offset, origin=load.origin.offset, reason=str(error)
            )
            return Loaded(load.origin, None, load.refresh)
        if self._intake.blocks:
            content = await asyncio.to_thread(self._intake.content, record.key, value, record.headers)
        else:
            content = self._intake.content(record.key, value, record.headers)
        return Loaded(load.origin, content, load.refresh)
