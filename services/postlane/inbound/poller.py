"""One mailbox: connect, take what is new chunk by chunk, make it durable, settle it, wait for more; for as long as it is ours."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from postlane.config.mailbox_section import AfterCommit, MailboxSection
from postlane.core.polling import mailbox as folders
from postlane.core.polling import mailbox_opening as openings
from postlane.core.polling.mailbox import Identity, Limits, Progress
from postlane.core.reconnect import reconnect_seconds
from postlane.inbound.cursors import CursorReader
from postlane.inbound.intake import MailFailed
from postlane.inbound.taker import Taker
from postlane.inbound.watch import MailboxWatch
from postlane.ports import LogUnavailable, MailSource, MailSourceError

SETTLE_LISTING_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PollerParts:
    """What a mailbox's poller works with; `connect` makes a session, not opened yet."""

    identity: Identity
    section: MailboxSection
    connect: Callable[[], MailSource]
    taker: Taker
    reader: CursorReader
    watch: MailboxWatch
    limits: Limits
    wait_seconds: float


class MailboxPoller:
    """Runs until `stop` is set, then ends behind the transaction that is running."""

    def __init__(self, parts: PollerParts, stop: asyncio.Event) -> None:
        self._parts = parts
        self._stop = stop
        self._scanning: Progress | None = None  # a scan goes on where it was when its session broke
        self._settles_first = True
        self._failures = 0

    async def run(self) -> None:
        """Poll for ever; a failing server is left alone for a while. Raises Fenced."""
        try:
            await self._run()
        finally:
            self._parts.watch.forget()

    async def _run(self) -> None:
        watch = self._parts.watch
        while not self._stop.is_set():
            source = self._parts.connect()
            delay = 0.0
            try:
                await self._session(source)
            except MailSourceError as error:
                delay = self._delay(auth=error.auth, asked=error.retry_after_seconds)
                watch.failed(str(error), "auth" if error.auth else "connection", delay)
            except MailFailed as error:
                delay = self._delay()
                watch.failed(str(error), error.cause, delay)
            except LogUnavailable as error:
                delay = self._delay()
                watch.failed(str(error), "kafka", delay)
            finally:
                watch.disconnected()
                await source.close()
            await self._pause(delay)

    def _delay(self, *, auth: bool = False, asked: float | None = None) -> float:
        self._failures += 1
        own = reconnect_seconds(self._failures, random.random(), auth=auth)  # noqa: S311 - spreads retries
        return max(own, asked or 0.0)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _session(self, source: MailSource) -> None:
        progress = await self._opened(source)
        self._parts.watch.connected()
        if self._settles_first:
            progress = await self._settle(source, progress)
        while not self._stop.is_set():
            progress = await self._take_all(source, progress)
            progress = await self._settle(source, progress)
            if not self._stop.is_set():
                self._parts.watch.checked()
                self._failures = 0
                await self._wait(source)

    # Opening

    async def _opened(self, source: MailSource) -> Progress:
        """Where to go on in the folder, made durable where it is new."""
        parts, now = self._parts, datetime.now(UTC)
        folder = await source.open(parts.section.folder)
        if self._scanning is not None and self._scanning.uid_validity == folder.uid_validity:
            return self._scanning
        match openings.open_folder(parts.identity, parts.taker.cursor, folder, parts.section.start, now):
            case openings.Resume(progress):
                return progress
            case openings.Begin(progress):
                return await self._begun(progress)
            case openings.BeginAtDate(since):
                first = await source.first_uid_since(since)
                first_uid = folder.uid_next if first is None else first
                return await self._begun(openings.begin_at(parts.identity, folder, first_uid, now))
            case openings.Renumbered(progress):
                return await self._rescanning(source, progress)
            case other:
                assert_never(other)

    async def _begun(self, progress: Progress) -> Progress:
        await self._parts.taker.write([], progress)
        self._parts.watch.began(progress)
        return progress

    async def _rescanning(self, source: MailSource, progress: Progress) -> Progress:
        assert progress.rescan is not None
        since = progress.rescan.since
        since_ms = None if since is None else int(since.timestamp() * 1000)
        name = self._parts.identity.mailbox
        known = await asyncio.to_thread(self._parts.reader.produced_hashes, name, since_ms)
        self._parts.taker.known = known
        self._parts.watch.renumbered(progress, len(known))
        first = 1 if since is None else await source.first_uid_since(since)
        first_uid = progress.rescan.until_uid + 1 if first is None else first
        return folders.rescan_from(progress, first_uid)

    # Taking

    async def _take_all(self, source: MailSource, progress: Progress) -> Progress:
        """Take chunk after chunk until nothing is listed any more."""
        parts = self._parts
        while not self._stop.is_set():
            listed = await source.list_since(progress.uid, parts.limits.chunk_mails)
            if progress.rescan and (not listed or listed[0].uid > progress.rescan.until_uid):
                progress = folders.after_rescan(progress, datetime.now(UTC))
                await parts.taker.write([], progress)
                self._remember_scan(progress)
            if not listed:
                break
            parts.watch.behind(len(listed))
            before, progress = progress, await parts.taker.take(source, progress, listed)
            self._remember_scan(progress)
            if before.settled_uid == before.uid:  # else the older ones come first, in their own time
                ended = [mail.uid for mail in listed if progress.settled_uid < mail.uid <= progress.uid]
                progress = await self._settled(source, progress, ended)
        return progress

    def _remember_scan(self, progress: Progress) -> None:
        self._scanning = progress if progress.rescan else None
        if progress.rescan is None:
            self._parts.taker.known = frozenset()

    # Settling

    async def _settle(self, source: MailSource, progress: Progress) -> Progress:
        """Catch up with what an earlier session left unsettled. Raises MailSourceError."""
        while progress.settled_uid < progress.uid:
            listed = await source.list_since(progress.settled_uid, SETTLE_LISTING_MAX)
            ended = [mail.uid for mail in listed if mail.uid <= progress.uid]
            if len(ended) < len(listed) or not listed:
                return await self._settled(source, progress, ended)
            progress = await self._settled(source, progress, ended, ended[-1])
        return progress

    async def _settled(
        self, source: MailSource, progress: Progress, uids: Sequence[int], until_uid: int | None = None
    ) -> Progress:
        """Flag, move or delete these. Raises MailSourceError; then new mail goes first in the next session."""
        try:
            if uids:
                await self._after_commit(source, uids)
        except MailSourceError as error:
            self._settles_first = False
            self._parts.watch.settling_failed(error)
            raise
        self._settles_first = True
        self._parts.watch.settled(len(uids))
        progress = folders.with_settled(progress, progress.uid if until_uid is None else until_uid)
        self._parts.taker.remember(progress)
        return progress

    async def _after_commit(self, source: MailSource, uids: Sequence[int]) -> None:
        section = self._parts.section
        match section.after:
            case AfterCommit.FLAG:
                await source.flag(uids, section.flag)
            case AfterCommit.MOVE:
                await source.move(uids, section.move_to)
            case AfterCommit.DELETE:
                await source.delete(uids)
            case AfterCommit.NOTHING:
                pass
            case _:
                assert_never(section.after)

    async def _wait(self, source: MailSource) -> None:
        """Until mail may have come, the poll is due, or the service stops. Raises MailSourceError."""
        waiting = asyncio.create_task(source.wait_for_change(self._parts.wait_seconds))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
        finally:
            stopping.cancel()
            waiting.cancel()
            await asyncio.gather(waiting, stopping, return_exceptions=True)
