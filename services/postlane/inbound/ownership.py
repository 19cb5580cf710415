"""Which partitions, and so which mailboxes, are ours: takes them over when the group gives them, lets them go when it takes them back."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from postlane.adapters.giving_up import GivenUp, unless_stopped
from postlane.core.reconnect import reconnect_seconds
from postlane.inbound.partition import PartitionOwner
from postlane.inbound.watch import KafkaWatch
from postlane.ports import Fenced, LogRecord

RELEASE_GRACE_SECONDS = 1.0  # beyond the drain time: for what was cancelled to end
CALM_SECONDS = 60.0  # a partition that was held for so long starts its back-off anew

log = structlog.get_logger(__name__)


class Worker(Protocol):
    """What runs while a partition is held: a folder's poller, or what reports of them."""

    async def run(self) -> None:
        """Until the partition is to be given back. Raises Fenced."""


class GroupMemberEnded(Exception):
    """The consumer group's client has failed for good; the text says why."""


@dataclass(slots=True)
class _Held:
    """A partition while the group says that it is ours."""

    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnershipParts:
    """`owner` makes the writer's holder of a partition, `workers` what polls its mailboxes, `mailboxes` names them."""

    owner: Callable[[int], PartitionOwner]
    workers: Callable[[PartitionOwner, asyncio.Event], Sequence[Worker]]
    mailboxes: Callable[[int], Sequence[str]]
    watch: KafkaWatch
    changed: Callable[[Sequence[int]], None]
    drain_seconds: float


class Ownership:
    """A GroupListener: its methods up to `stumbled` are called from the member's thread, the others on the event loop."""

    def __init__(self, parts: OwnershipParts) -> None:
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._held: dict[int, _Held] = {}
        self._fatal: str | None = None

    def assigned(self, partitions: Sequence[int]) -> None:
        """See GroupListener."""
        self._loop.call_soon_threadsafe(self._hold_all, tuple(partitions))

    def revoked(self, partitions: Sequence[int]) -> None:
        """See GroupListener: returns once what was running is committed, or given up after the drain time."""
        release = asyncio.run_coroutine_threadsafe(self.release(tuple(partitions)), self._loop)
        with contextlib.suppress(FutureTimeoutError, CancelledError):
            release.result(self._parts.drain_seconds + 2 * RELEASE_GRACE_SECONDS)

    def lost(self, partitions: Sequence[int]) -> None:
        """See GroupListener."""
        self._loop.call_soon_threadsafe(self._drop_all, tuple(partitions))

    def fetched(self, partition: int, session: int, records: list[LogRecord]) -> None:
        """See GroupListener; cursors are read at take-over, nothing is ever started."""

    def stumbled(self, error: str, fatal: bool) -> None:
        """See GroupListener."""
        self._loop.call_soon_threadsafe(self._stumbled, error, fatal)

    async def release(self, partitions: Sequence[int]) -> None:
        """Let the pollers finish what is running within the drain time, then stop writing about these partitions."""
        held = [self._held.pop(partition) for partition in partitions if partition in self._held]
        tasks = [one.task for one in held if one.task is not None]
        for one in held:
            one.stop.set()
        if tasks:
            await asyncio.wait(tasks, timeout=self._parts.drain_seconds)
            await self._end(tasks)
        self._tell()

    async def release_all(self) -> None:
        """Before the service ends."""
        await self.release(tuple(self._held))

    async def _end(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=RELEASE_GRACE_SECONDS)

    def _hold_all(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            if partition not in self._held:
                held = self._held[partition] = _Held()
                if self._parts.mailboxes(partition):
                    held.task = asyncio.create_task(self._hold(partition, held.stop))
        self._tell()

    def _drop_all(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            held = self._held.pop(partition, None)
            if held is not None and held.task is not None:
                held.task.cancel()
        self._tell()

    def _tell(self) -> None:
        self._parts.changed(sorted(self._held))

    def _stumbled(self, error: str, fatal: bool) -> None:
        self._parts.watch.stumbled(error, fatal=fatal)
        if fatal:
            self._fatal = error

    async def check(self) -> None:
        """Raises GroupMemberEnded once the membership is beyond repair: a new process joins afresh."""
        if self._fatal is not None:
            await self.release_all()
            raise GroupMemberEnded(self._fatal)

    async def _hold(self, partition: int, stop: asyncio.Event) -> None:
        """Take over and poll until told to stop; fenced while the group still counts it as ours means: take over again."""
        failures = 0
        while not stop.is_set():
            owner, started = self._parts.owner(partition), time.monotonic()
            try:
                await unless_stopped(stop, owner.take_over())
                await self._poll(owner, stop)
            except GivenUp:
                log.info("take_over_given_up", partition=partition)
            except Fenced as error:
                self._parts.watch.fenced()
                log.warning("partition_fenced", partition=partition, reason=str(error))
            except Exception:
                # A fault of ours must not end the other partitions' work, nor this one's for ever.
                log.exception("partition_failed", partition=partition)
            finally:
                owner.drop()
            if not stop.is_set():
                failures = failures + 1 if time.monotonic() - started < CALM_SECONDS else 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), reconnect_seconds(failures, random.random()))  # noqa: S311

    async def _poll(self, owner: PartitionOwner, stop: asyncio.Event) -> None:
        """Run the partition's workers; the first one that raises ends the others. Raises Fenced."""
        tasks = [asyncio.create_task(worker.run()) for worker in self._parts.workers(owner, stop)]
        try:
            for done in asyncio.as_completed(tasks):
                await done
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
