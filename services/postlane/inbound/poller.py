"""One folder: connect, take what is new, make it durable, settle it, wait for more; for as long as it is ours."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar, assert_never

import structlog

from postlane.adapters.giving_up import GivenUp, in_daemon_thread, unless_stopped
from postlane.config.mailbox_section import MailboxSection
from postlane.core.polling import mailbox as folders
from postlane.core.polling import mailbox_opening as openings
from postlane.core.polling.mailbox import Identity, Progress
from postlane.core.reconnect import reconnect_seconds
from postlane.inbound.batches import MailFailed
from postlane.inbound.cursors import CursorReader
from postlane.inbound.dialing import Dialing
from postlane.inbound.flow import Flow, FlowParts
from postlane.inbound.folder_watch import FolderWatch
from postlane.inbound.partition import PartitionOwner
from postlane.inbound.room import Room
from postlane.inbound.settling import Settler
from postlane.inbound.taker import Taker
from postlane.ports import Fenced, LogUnavailable, MailSource, MailSourceError

POLL_JITTER_SHARE = 0.1  # so that hundreds of mailboxes are not asked in one moment

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PollerParts:
    """What a folder's poller works with; `connect` makes a session, not opened yet."""

    identity: Identity
    section: MailboxSection
    connect: Callable[[], MailSource]
    dialing: Dialing
    owner: PartitionOwner
    taker: Taker
    settler: Settler
    reader: CursorReader
    watch: FolderWatch
    room: Room
    list_mails: int
    wait_seconds: float


class FolderPoller:
    """Runs until `stop` is set, then ends behind the transactions that are running."""

    def __init__(self, parts: PollerParts, stop: asyncio.Event) -> None:
        self._parts = parts
        self._stop = stop
        self._flow = FlowParts(
            taker=parts.taker,
            settler=parts.settler,
            watch=parts.watch,
            room=parts.room,
            list_mails=parts.list_mails,
        )
        self._scanning: Progress | None = None  # a scan goes on where it was when its session broke
        self._failures = 0

    async def run(self) -> None:
        """Poll for ever; a failing server is left alone for a while. Raises Fenced, and what a writer failed with for good."""
        cursor = self._parts.taker.cursor
        self._parts.watch.taken_over(None if cursor is None else cursor.checked_at)
        try:
            while not self._stop.is_set():
                await self._one_session()
        except GivenUp:
            pass
        finally:
            self._parts.watch.forget()

    async def _one_session(self) -> None:
        """From connecting until it fails; then the pause that the failure calls for. Raises Fenced, GivenUp."""
        source, delay = self._parts.connect(), 0.0
        try:
            await self._session(source)
        except MailSourceError as error:
            delay = self._delay(auth=error.auth, asked=error.retry_after_seconds)
            if error.auth or error.retry_after_seconds:
                self._parts.dialing.rest(self._parts.identity.mailbox, delay)
            self._parts.watch.failed(str(error), error.trouble.value, delay)
        except MailFailed as error:
            delay = self._delay()
            self._parts.watch.failed(str(error), error.cause, delay)
        except LogUnavailable as error:
            delay = self._delay()
            self._parts.watch.failed(str(error), "kafka", delay)
        except (Fenced, GivenUp):
            raise
        except Exception as error:
            if self._parts.owner.broken:
                raise
            # A fault of ours must not end the other mailboxes' work, nor this one's for ever.
            log.exception("mailbox_fault", mailbox=self._parts.identity.mailbox)
            delay = self._delay()
            self._parts.watch.failed(f"a fault of Postlane: {type(error).__name__}", "fault", delay)
        finally:
            self._parts.watch.disconnected()
            await source.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay)

    def _delay(self, *, auth: bool = False, asked: float | None = None) -> float:
        self._failures += 1
        own = reconnect_seconds(self._failures, random.random(), auth=auth)  # noqa: S311 - spreads retries
        return max(own, asked or 0.0)

    async def _session(self, source: MailSource) -> None:
        parts = self._parts
        progress = await self._opened(source)
        if not parts.settler.refused:
            await parts.settler.settle(source)
        while not self._stop.is_set():
            progress = await self._take_all(source, progress)
            if self._stop.is_set():
                return
            progress = folders.checked(progress, parts.watch.checked())
            progress = folders.no_longer_compared(progress, datetime.now(UTC))
            if not progress.is_compared:
                parts.taker.known = set()
            await parts.settler.settle(source)
            parts.watch.works()
            self._failures = 0
            spread = 1.0 - POLL_JITTER_SHARE * random.random()  # noqa: S311
            if not await self._unless_stopped(source.wait_for_change(parts.wait_seconds * spread)):
                await parts.taker.write_settled(progress)

    async def _take_all(self, source: MailSource, progress: Progress) -> Progress:
        flow = Flow(self._flow, source, progress, self._stop)
        try:
            return await flow.take_all()
        finally:
            self._scanning = flow.progress if flow.progress.rescan else None
            if flow.progress.uid > progress.uid:
                self._failures = 0
            if progress.rescan and not flow.progress.rescan:
                self._parts.watch.scanned()

    # Opening

    async def _opened(self, source: MailSource) -> Progress:
        """Where to go on in the folder, made durable where it is new. Raises GivenUp."""
        parts, now = self._parts, datetime.now(UTC)
        folder = await self._unless_stopped(self._selected(source))
        parts.watch.connected()
        scanning = self._scanning
        if scanning is not None and scanning.uid_validity == folder.uid_validity:
            return scanning
        match openings.open_folder(parts.identity, parts.taker.cursor, folder, parts.section.start, now):
            case openings.Resume(progress):
                parts.settler.resume(progress.cursor)
                progress = folders.no_longer_compared(progress, now)
                if progress.is_compared and not parts.taker.known:
                    parts.taker.known = await self._known()
                return progress
            case openings.Begin(progress):
                return await self._begun(progress)
            case openings.BeginAtDate(since):
                first = await source.first_uid_since(since)
                first_uid = folder.uid_next if first is None else first
                return await self._begun(openings.begin_at(parts.identity, folder, first_uid, now))
            case openings.Renumbered() as renumbered:
                return await self._rescanning(source, renumbered)
            case other:
                assert_never(other)

    async def _selected(self, source: MailSource) -> Any:
        async with self._parts.dialing.turn(self._parts.section.host, self._parts.identity.mailbox):
            return await source.open(self._parts.identity.folder)

    async def _begun(self, progress: Progress) -> Progress:
        self._parts.settler.start_anew(progress.uid_validity)
        await self._parts.taker.write([], progress)
        self._parts.watch.began(progress)
        return progress

    async def _rescanning(self, source: MailSource, renumbered: openings.Renumbered) -> Progress:
        parts, progress = self._parts, renumbered.progress
        assert progress.rescan is not None
        parts.settler.start_anew(progress.uid_validity)
        if renumbered.write_first:
            await parts.taker.write([], progress)
        since = progress.rescan.since
        parts.taker.known = await self._known()
        parts.watch.renumbered(progress, renumbered.why, len(parts.taker.known))
        first = 1 if since is None else await source.first_uid_since(since)
        first_uid = progress.rescan.until_uid + 1 if first is None else first
        self._scanning = folders.rescan_from(progress, first_uid)
        return self._scanning

    async def _known(self) -> set[str]:
        """All that `mail.inbound` still has of the mailbox: a restored mail may say that it arrived today."""
        parts = self._parts
        read = partial(parts.reader.produced_hashes, parts.identity.mailbox, None)
        return set(await self._unless_stopped(in_daemon_thread(read)))

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        return await unless_stopped(self._stop, work)
