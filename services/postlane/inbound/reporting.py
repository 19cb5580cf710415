"""Says on `mail.inbound.cursor` how the polling of a partition's folders goes, so that `postlane mailboxes` needs nothing but Kafka.

It also keeps a process that was stopped or cut off from thinking that a partition is still its own: the writer of the reports is the one that a successor fences.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from postlane.inbound.folder_watch import FolderWatch
from postlane.inbound.partition import PartitionOwner
from postlane.inbound.records import InboundRecords
from postlane.ports import Clock

REPORT_SECONDS = 30.0  # core.polling.mailbox_view calls a folder silent after a few of these
NEWS_SECONDS = 2.0  # what has changed is said so soon


@dataclass(frozen=True, slots=True, kw_only=True)
class ReporterParts:
    """Whose folders, and what writes."""

    owner: PartitionOwner
    records: InboundRecords
    watches: Sequence[FolderWatch]
    clock: Clock
    report_seconds: float = REPORT_SECONDS


class Reporter:
    """One partition's, beside its pollers."""

    def __init__(self, parts: ReporterParts, stop: asyncio.Event) -> None:
        self._parts = parts
        self._stop = stop

    async def run(self) -> None:
        """Until told to stop. Raises Fenced."""
        parts = self._parts
        told_at = float("-inf")
        while not self._stop.is_set():
            due = parts.clock() - told_at >= parts.report_seconds
            telling = [watch for watch in parts.watches if due or watch.stale]
            if telling:
                reports = [watch.report() for watch in telling]
                await parts.owner.write(await parts.records.reports(reports, parts.owner.partition))
            if due:
                told_at = parts.clock()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), NEWS_SECONDS)
