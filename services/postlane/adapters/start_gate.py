"""What a service waits for and refuses before it joins: topics as they must be, schemas that can be written."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from postlane.adapters.avro_codec import Codec, Event
from postlane.adapters.giving_up import GivenUp, in_daemon_thread, unless_stopped
from postlane.adapters.process import CannotStart, Runtime
from postlane.adapters.schema_registry import SchemaRefused, registry_of
from postlane.adapters.topics import TopicAdmin, load_topics
from postlane.config.settings import Settings
from postlane.core.reconnect import reconnect_seconds
from postlane.core.topics import blocks_services, explain
from postlane.ports import LogUnavailable

T = TypeVar("T")


async def await_topics(settings: Settings, names: Sequence[str], runtime: Runtime) -> bool:
    """True once Kafka has these topics (names without prefix) as they must be; False when the service was stopped before.

    Raises CannotStart with one line per fault: it would lose, reorder or block mail.
    """
    faults = await _await(lambda: _topic_faults(settings, names), runtime, "kafka")
    if faults:
        raise CannotStart("\n".join(faults))
    return faults is not None


async def await_codec(settings: Settings, kinds: Sequence[type[Event]], runtime: Runtime) -> Codec | None:
    """A codec that can write these kinds; None when the service was stopped before. Raises CannotStart.

    A schema that turns out to be refused only when a mail has gone out would keep that mail's end from ever being written.
    """

    def prepare() -> Codec:
        codec = Codec(registry_of(settings.kafka))
        codec.prepare(*kinds)
        return codec

    try:
        return await _await(prepare, runtime, "schema_registry")
    except SchemaRefused as error:
        raise CannotStart(str(error)) from None


async def _await(call: Callable[[], T], runtime: Runtime, component: str) -> T | None:
    """What the call returns once its server answers; None when the service was stopped before."""
    failures = 0
    while not runtime.stop.is_set():
        try:
            answer = await unless_stopped(runtime.stop, in_daemon_thread(call))
        except GivenUp:
            return None
        except LogUnavailable as error:
            failures += 1
            runtime.health.set(component, False, str(error))  # which logs it, once
        else:
            runtime.health.set(component, True)
            return answer
        with contextlib.suppress(TimeoutError):
            spread = random.random()  # noqa: S311 - spreads reconnects
            await asyncio.wait_for(runtime.stop.wait(), reconnect_seconds(failures, spread))
    return None


def _topic_faults(settings: Settings, names: Sequence[str]) -> list[str]:
    full_names = {settings.kafka.topic(name) for name in names}
    wanted = [topic for topic in load_topics(settings.kafka, settings.topics) if topic.name in full_names]
    return [explain(fault) for fault in TopicAdmin(settings.kafka).check(wanted) if blocks_services(fault)]
