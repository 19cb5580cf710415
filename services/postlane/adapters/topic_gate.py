"""Services start only on topics as they must be: wait for Kafka, then refuse what would lose, reorder or block mail."""

import asyncio
import contextlib
import random
from collections.abc import Sequence

import structlog

from postlane.adapters.process import CannotStart, Runtime
from postlane.adapters.topics import TopicAdmin, load_topics
from postlane.config.settings import Settings
from postlane.core.reconnect import reconnect_seconds
from postlane.core.topics import blocks_services, explain
from postlane.ports import LogUnavailable

log = structlog.get_logger(__name__)


async def await_topics(settings: Settings, names: Sequence[str], runtime: Runtime) -> bool:
    """True once Kafka has these topics (names without prefix) as they must be; False when the service was stopped before.

    Raises CannotStart with one line per fault.
    """
    failures = 0
    while not runtime.stop.is_set():
        try:
            faults = await asyncio.to_thread(_faults, settings, names)
        except LogUnavailable as error:
            failures += 1
            runtime.health.set("kafka", False, str(error))
            if failures == 1:
                log.warning("kafka_away", reason=str(error), servers=settings.kafka.bootstrap_servers)
        else:
            if faults:
                raise CannotStart("\n".join(faults))
            runtime.health.set("kafka", True)
            return True
        with contextlib.suppress(TimeoutError):
            spread = random.random()  # noqa: S311 - spreads reconnects
            await asyncio.wait_for(runtime.stop.wait(), reconnect_seconds(failures, spread))
    return False


def _faults(settings: Settings, names: Sequence[str]) -> list[str]:
    full_names = {settings.kafka.topic(name) for name in names}
    wanted = [topic for topic in load_topics(settings.kafka, settings.topics) if topic.name in full_names]
    return [explain(fault) for fault in TopicAdmin(settings.kafka).check(wanted) if blocks_services(fault)]
