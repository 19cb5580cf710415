"""Notices that the main topic was recreated or grew under us: both break the order, and nothing else says so."""

import asyncio

import structlog

from postlane.ports import EventLog, LogUnavailable

CHECK_SECONDS = 30.0  # it is noticed at least this often

log = structlog.get_logger(__name__)


class TopicChanged(Exception):
    """The main topic is no longer the one that we started on; a new process recovers from what Kafka knows."""


async def watch_topic(event_log: EventLog, topic: str) -> None:
    """Look again and again; never returns. Raises TopicChanged."""
    known: tuple[str, int] | None = None
    while True:
        try:
            found = (
                await asyncio.to_thread(event_log.topic_id, topic),
                await asyncio.to_thread(event_log.partition_count, topic),
            )
        except LogUnavailable as error:
            log.debug("topic_not_checked", reason=str(error))
        else:
            if known is not None and found != known:
                raise TopicChanged(f"{topic} was recreated or its partitions were changed while we ran")
            known = found
        await asyncio.sleep(CHECK_SECONDS)
