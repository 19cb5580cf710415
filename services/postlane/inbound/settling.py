"""After the commit: flags, moves or deletes a folder's mails by UID, exactly those whose events are durable, also those that a crash left."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import assert_never

from postlane.config.mailbox_section import AfterCommit, MailboxSection
from postlane.core.events.received import MailboxCursor
from postlane.core.polling import uid_ranges
from postlane.core.polling.unsettled import (
    Unsettled,
    stamped,
    unsettled_of,
    with_legacy_known,
    with_produced,
    with_settled,
)
from postlane.inbound.folder_watch import FolderWatch
from postlane.ports import MailSource, MailSourceError

MAILS_AT_ONCE = 500  # of one command; what a crash cut off may be many more


class Settler:
    """One folder's, from session to session. UIDs are used only under the UIDVALIDITY that they were produced under.

    `seen` waits until all that was committed can be read: until then it may still be undone, and its mails be all that is left of it.
    """

    def __init__(
        self, section: MailboxSection, watch: FolderWatch, seen: Callable[[], Awaitable[bool]]
    ) -> None:
        self._section = section
        self._watch = watch
        self._seen = seen
        self._waiting = Unsettled(0)
        self.refused = False  # the server did not let us; new mail goes first then

    def resume(self, cursor: MailboxCursor) -> None:
        """Go on with a folder under the cursor's UIDVALIDITY."""
        if self._waiting.uid_validity != cursor.uid_validity:
            self._waiting = unsettled_of(cursor)
        if self._section.after is AfterCommit.NOTHING:
            self._waiting = Unsettled(cursor.uid_validity)

    def start_anew(self, uid_validity: int) -> None:
        """The folder's UIDs mean nothing any more; what waited stays as it is, or is met again by the scan."""
        self._waiting = Unsettled(uid_validity)

    def stamped(self, cursor: MailboxCursor, produced: Iterable[int] = ()) -> MailboxCursor:
        """The cursor with what waits once these are durable, too."""
        return stamped(cursor, self._with(produced))

    def produced(self, uids: Iterable[int]) -> None:
        """The events of these are durable."""
        self._waiting = self._with(uids)

    async def settle(self, source: MailSource) -> None:
        """Do what waits and can be read. Raises Fenced, and MailSourceError; then new mail goes first in the next session."""
        try:
            await self._know_legacy(source)
            ready = self._waiting.uids  # and nothing that comes while we wait
            if ready and not await self._seen():
                return
            while uids := uid_ranges.first_uids(ready, MAILS_AT_ONCE):
                await self._after_commit(source, uids)
                done = uid_ranges.ranges_of(uids)
                ready = uid_ranges.without(ready, done)
                self._waiting = with_settled(self._waiting, done)
                self._watch.settled(len(uids))
        except MailSourceError as error:
            self.refused = True
            self._watch.settling_failed(error)
            raise
        self.refused = False

    def _with(self, uids: Iterable[int]) -> Unsettled:
        if self._section.after is AfterCommit.NOTHING:
            return self._waiting
        return with_produced(self._waiting, uid_ranges.ranges_of(uids))

    async def _know_legacy(self, source: MailSource) -> None:
        """Which mails lie in the range that an older Postlane left."""
        span = self._waiting.legacy
        if span is None:
            return
        found: list[int] = []
        position = span[0]
        while listed := await source.list_since(position, MAILS_AT_ONCE):
            found += [mail.uid for mail in listed if mail.uid <= span[1]]
            position = listed[-1].uid
            if position >= span[1]:
                break
        self._waiting = with_legacy_known(self._waiting, uid_ranges.ranges_of(found))

    async def _after_commit(self, source: MailSource, uids: Sequence[int]) -> None:
        section = self._section
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
