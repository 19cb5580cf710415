"""The inbound service's course: join the group, poll what it gives, leave."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import structlog

from postlane.core.metrics import PARTITIONS_OWNED
from postlane.inbound.board import Board
from postlane.inbound.watch import KafkaWatch
from postlane.inbound.wiring import Parts, make_ownership

CHECK_SECONDS = 1.0

log = structlog.get_logger(__name__)


async def poll_until_stopped(parts: Parts) -> None:
    """Join the group, poll what it gives, and leave it once `stop` is set. Raises GroupMemberEnded."""
    runtime = parts.runtime

    def changed(partitions: Sequence[int]) -> None:
        runtime.metrics.gauge(PARTITIONS_OWNED).set(len(partitions))
        log.info("partitions_held", partitions=list(partitions))

    watch = KafkaWatch(runtime.metrics, runtime.health, time.monotonic)
    board = Board()
    ownership = make_ownership(parts, board, watch, changed)
    group = parts.settings.kafka.group("inbound")
    # Joining makes clients, and closing them waits for the broker: both stay off the event loop.
    member = await asyncio.to_thread(parts.event_log.join, group, parts.topics.cursor, ownership)
    try:
        while not runtime.stop.is_set():
            await ownership.check()
            watch.recover()
            seen = board.seen()
            here = {folder.mailbox for folder in seen}
            parts.alarms.observe(seen, [grant for grant in parts.grants() if grant.mailbox in here])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(runtime.stop.wait(), CHECK_SECONDS)
        await ownership.release_all()
        # A restart is what repairs a login, and the next process knows of no alert that it could end.
        parts.alarms.observe([])
    finally:
        await asyncio.to_thread(member.close)
