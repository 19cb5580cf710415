"""A mail server in memory behind the MailSource port: folders with UIDs, many sessions, and faults on order."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from postlane.core.polling.folder import FolderState, ListedMail
from postlane.ports import MailSourceError


@dataclass
class StoredMail:
    """One mail in a folder."""

    uid: int
    raw: bytes
    received_at: datetime
    flags: set[str] = field(default_factory=set)


@dataclass
class Folder:
    """One folder; `changed` is renewed whenever mail arrives."""

    uid_validity: int = 1
    uid_next: int = 1
    mails: dict[int, StoredMail] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryMailServer:
    """One account. `fail_next` holds errors that the next calls of that name raise, one each."""

    def __init__(self) -> None:
        self.folders: dict[str, Folder] = {}
        self.fail_next: dict[str, deque[MailSourceError]] = {}
        self.poison_uids: set[int] = set()  # fetching them breaks the session
        self.hollow_uids: set[int] = set()  # fetching them gives nothing, without an error
        self.hollow_calls: set[tuple[str, int]] = set()  # so does the n-th call (from 1) of that name
        self.announced: dict[int, int] = {}  # by UID, where the size that it lists is not the mail's
        self.hidden_uids: set[int] = set()  # not listed, as if they had come to light late
        self.sessions = 0
        self.withholds_until_session = 0  # up to this session it lists mail but hands none out
        self.calls: list[str] = []

    def folder(self, name: str = "INBOX") -> Folder:
        """The folder, created when it is missing."""
        return self.folders.setdefault(name, Folder())

    def deliver(self, raw: bytes, received_at: datetime | None = None, folder: str = "INBOX") -> int:
        """Put a mail into a folder and wake whoever waits; its UID."""
        place = self.folder(folder)
        uid = place.uid_next
        place.uid_next += 1
        place.mails[uid] = StoredMail(uid, raw, received_at or datetime.now(UTC))
        place.changed.set()
        place.changed = asyncio.Event()
        return uid

    def renumber(self, folder: str = "INBOX") -> None:
        """Change UIDVALIDITY and every UID, as a restored mailbox does."""
        place = self.folder(folder)
        old = [place.mails[uid] for uid in sorted(place.mails)]
        place.uid_validity += 1
        place.mails = {}
        place.uid_next = 1
        for mail in old:
            place.mails[place.uid_next] = StoredMail(place.uid_next, mail.raw, mail.received_at, mail.flags)
            place.uid_next += 1

    def restore(self, mails: int, folder: str = "INBOX") -> None:
        """Put the folder back to when it had so many mails, under the same UIDVALIDITY."""
        place = self.folder(folder)
        place.mails = {uid: place.mails[uid] for uid in sorted(place.mails)[:mails]}
        place.uid_next = max(place.mails, default=0) + 1

    def fail(self, call: str, error: MailSourceError, times: int = 1) -> None:
        """The next calls of that name raise the error."""
        self.fail_next.setdefault(call, deque()).extend([error] * times)

    def session(self) -> "MemoryMailbox":
        """A new session, not opened yet."""
        return MemoryMailbox(self)


class MemoryMailbox:
    """See ports.MailSource; every error ends the session, as the port says."""

    def __init__(self, server: MemoryMailServer) -> None:
        self._server = server
        self._folder: Folder | None = None
        self._seen_uid_next = 0  # as of the last look; what came since ends the next wait

    async def open(self, folder: str) -> FolderState:
        """See ports.MailSource.open."""
        self._called("open")
        if folder not in self._server.folders:
            raise MailSourceError(f"SELECT refused: no folder {folder}")
        self._server.sessions += 1
        place = self._folder = self._server.folders[folder]
        self._seen_uid_next = place.uid_next
        return FolderState(uid_validity=place.uid_validity, uid_next=place.uid_next, exists=len(place.mails))

    async def list_since(self, uid: int, limit: int) -> list[ListedMail]:
        """See ports.MailSource.list_since."""
        place = self._selected("list_since")
        self._seen_uid_next = place.uid_next
        server = self._server
        shown = [one for one in sorted(place.mails) if one > uid and one not in server.hidden_uids]
        return [
            ListedMail(
                uid=one,
                size_bytes=server.announced.get(one, len(place.mails[one].raw)),
                received_at=place.mails[one].received_at,
            )
            for one in shown[:limit]
        ]

    async def count_above(self, uid: int) -> int:
        """See ports.MailSource.count_above."""
        return sum(1 for one in self._selected("count_above").mails if one > uid)

    async def count_since(self, received_at: datetime) -> int:
        """See ports.MailSource.count_since."""
        place = self._selected("count_since")
        return sum(1 for mail in place.mails.values() if mail.received_at.date() >= received_at.date())

    async def first_uid_since(self, received_at: datetime) -> int | None:
        """See ports.MailSource.first_uid_since."""
        place = self._selected("first_uid_since")
        mails = place.mails.values()
        return min(
            (mail.uid for mail in mails if mail.received_at.date() >= received_at.date()), default=None
        )

    async def fetch(self, uids: Sequence[int]) -> dict[int, bytes]:
        """See ports.MailSource.fetch."""
        place = self._selected("fetch")
        if self._server.poison_uids & set(uids):
            raise self._broken("connection lost during UID FETCH")
        return {uid: self._content("fetch", place, uid) for uid in uids if uid in place.mails}

    async def fetch_part(self, uid: int, start: int, size: int) -> bytes:
        """See ports.MailSource.fetch_part."""
        place = self._selected("fetch_part")
        if uid in self._server.poison_uids:
            raise self._broken("connection lost during UID FETCH")
        return self._content("fetch_part", place, uid)[start : start + size]

    async def fetch_header(self, uid: int) -> bytes:
        """See ports.MailSource.fetch_header."""
        place = self._selected("fetch_header")
        head, blank, _ = self._content("fetch_header", place, uid).partition(b"\r\n\r\n")
        return head + blank

    async def flag(self, uids: Sequence[int], flag: str) -> None:
        """See ports.MailSource.flag."""
        place = self._selected("flag")
        for uid in uids:
            if uid in place.mails:
                place.mails[uid].flags.add(flag)

    async def move(self, uids: Sequence[int], folder: str) -> None:
        """See ports.MailSource.move."""
        place = self._selected("move")
        for uid in sorted(uids):
            mail = place.mails.pop(uid, None)
            if mail is not None:
                self._server.deliver(mail.raw, mail.received_at, folder)

    async def delete(self, uids: Sequence[int]) -> None:
        """See ports.MailSource.delete."""
        place = self._selected("delete")
        for uid in uids:
            place.mails.pop(uid, None)

    async def wait_for_change(self, timeout_seconds: float) -> bool:
        """See ports.MailSource.wait_for_change."""
        place = self._selected("wait_for_change")
        if place.uid_next > self._seen_uid_next:
            return True
        try:
            await asyncio.wait_for(place.changed.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """See ports.MailSource.close."""
        self._folder = None

    def _content(self, call: str, place: Folder, uid: int) -> bytes:
        server = self._server
        is_hollow = uid in server.hollow_uids or (call, server.calls.count(call)) in server.hollow_calls
        return b"" if is_hollow or uid not in place.mails else place.mails[uid].raw

    def _called(self, call: str) -> None:
        self._server.calls.append(call)
        if call.startswith("fetch") and self._server.sessions < self._server.withholds_until_session:
            raise self._broken(f"{call} refused: [UNAVAILABLE] backend down")
        if errors := self._server.fail_next.get(call):
            self._folder = None
            raise errors.popleft()

    def _selected(self, call: str) -> Folder:
        self._called(call)
        if self._folder is None:
            raise self._broken("the session is not open")
        return self._folder

    def _broken(self, reason: str) -> MailSourceError:
        self._folder = None
        return MailSourceError(reason)
