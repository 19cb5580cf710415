"""MailSource by IMAP: UIDs only, BODY.PEEK[] only, never a bare EXPUNGE (RFC 3501, RFC 4315, RFC 6851)."""

from collections.abc import Sequence
from datetime import UTC, datetime

from postlane.adapters.imap_account import ImapAccount
from postlane.adapters.imap_client import ImapClient, PostlaneClient
from postlane.core.imap.arguments import search_date, uid_set
from postlane.core.imap.facts import FetchedItem
from postlane.core.polling.folder import FolderState, ListedMail
from postlane.ports import MailTrouble

__all__ = ["ImapAccount", "ImapSource"]  # clients are this adapter's own affair


class ImapSource:
    """See ports.MailSource. One session; for the next one make a new object."""

    def __init__(self, client: ImapClient | ImapAccount) -> None:
        self._client: ImapClient = PostlaneClient(client) if isinstance(client, ImapAccount) else client
        self._idles = True  # until the server refuses what it announced
        self._backlog: list[int] = []  # UIDs that the last search found and nobody asked past yet, descending
        self._backlog_after = 0  # the backlog holds every UID above this one

    async def open(self, folder: str) -> FolderState:
        """See ports.MailSource.open."""
        await self._client.log_in()
        selected = await self._client.select(folder)
        if selected.uid_validity is None:
            words = f"the server names no UIDVALIDITY for folder {folder!r}; it cannot be polled safely"
            raise self._client.broken(words, trouble=MailTrouble.REFUSED)
        uid_next = selected.uid_next
        if uid_next is None:  # optional in RFC 3501
            newest = await self._client.search("UID *")
            uid_next = newest[-1] + 1 if newest else 1
        return FolderState(
            uid_validity=selected.uid_validity,
            uid_next=uid_next,
            exists=selected.exists,
            uid_next_told=selected.uid_next is not None,
        )

    async def list_since(self, uid: int, limit: int) -> list[ListedMail]:
        """See ports.MailSource.list_since."""
        while True:
            await self._search_from(uid)
            if not self._backlog:
                return []
            wanted = self._backlog[: -min(limit, self._client.uids_per_command_max) - 1 : -1]
            items = await self._describe(wanted)
            # A mail whose size or time cannot be read is a mail all the same.
            listed = [
                ListedMail(
                    uid=one,
                    size_bytes=items[one].size_bytes or 0,
                    received_at=items[one].received_at or datetime.now(UTC),
                )
                for one in wanted
                if one in items
            ]
            if listed:
                return listed
            uid = wanted[-1]  # all of them are gone meanwhile

    async def count_above(self, uid: int) -> int:
        """See ports.MailSource.count_above."""
        await self._search_from(uid)
        return len(self._backlog)

    async def count_since(self, received_at: datetime) -> int:
        """See ports.MailSource.count_since."""
        return len(await self._client.search(f"SINCE {search_date(received_at)}"))

    async def first_uid_since(self, received_at: datetime) -> int | None:
        """See ports.MailSource.first_uid_since."""
        found = await self._client.search(f"SINCE {search_date(received_at)}")
        return found[0] if found else None

    async def fetch(self, uids: Sequence[int]) -> dict[int, bytes]:
        """See ports.MailSource.fetch."""
        contents: dict[int, bytes] = {}
        for chunk in self._chunks(uids):
            items = await self._fetch(chunk, "(UID BODY.PEEK[])")
            contents |= {item.uid: item.content for item in items if item.content is not None}
        return {uid: contents[uid] for uid in uids if uid in contents}

    async def fetch_part(self, uid: int, start: int, size: int) -> bytes:
        """See ports.MailSource.fetch_part."""
        return await self._fetch_one(uid, f"(UID BODY.PEEK[]<{start}.{size}>)")

    async def fetch_header(self, uid: int) -> bytes:
        """See ports.MailSource.fetch_header."""
        return await self._fetch_one(uid, "(UID BODY.PEEK[HEADER])")

    async def flag(self, uids: Sequence[int], flag: str) -> None:
        """See ports.MailSource.flag."""
        for chunk in self._chunks(uids):
            await self._must("UID STORE", f"{uid_set(chunk)} +FLAGS.SILENT ({flag})")

    async def move(self, uids: Sequence[int], folder: str) -> None:
        """See ports.MailSource.move."""
        for chunk in self._chunks(uids):
            if self._client.can("MOVE"):
                await self._into(folder, "MOVE", chunk)
                continue
            # Flagged as deleted means copied already, by an attempt that was cut off.
            pending = await self._client.search(f"UID {uid_set(chunk)} UNDELETED")
            if pending:
                await self._into(folder, "COPY", pending)
            await self.delete(chunk)

    async def delete(self, uids: Sequence[int]) -> None:
        """See ports.MailSource.delete."""
        await self.flag(uids, "\\Deleted")
        if self._client.can("UIDPLUS"):
            for chunk in self._chunks(uids):
                await self._must("UID EXPUNGE", uid_set(chunk))

    def can(self, capability: str) -> bool:
        """Whether the server has announced this capability, in capitals."""
        return self._client.can(capability)

    async def wait_for_change(self, timeout_seconds: float) -> bool:
        """See ports.MailSource.wait_for_change."""
        if self._idles and self._client.can("IDLE"):
            changed = await self._client.idle(timeout_seconds)
            if changed is not None:
                return changed
            self._idles = False
        return await self._client.sleep(timeout_seconds)

    async def close(self) -> None:
        """See ports.MailSource.close."""
        await self._client.close()

    async def _search_from(self, uid: int) -> None:
        """Let the backlog be what lies above this UID; search again only when it is used up or does not reach down."""
        while self._backlog and self._backlog[-1] <= uid:
            self._backlog.pop()
        if not self._backlog or uid < self._backlog_after:
            found = await self._search_above(uid)
            if not found and self._client.has_news:
                # Dovecot searches what the last command left in view, and tells beside the answer what has come since.
                found = await self._search_above(uid)
            self._backlog = found[::-1]
        self._backlog_after = uid

    async def _search_above(self, uid: int) -> list[int]:
        # `n:*` names the newest mail even where its UID is below n (RFC 3501 section 6.4.8).
        return [one for one in await self._client.search(f"UID {uid + 1}:*") if one > uid]

    async def _describe(self, uids: Sequence[int]) -> dict[int, FetchedItem]:
        """Size and time of the mails that are still there. A mail that FETCH leaves out is gone only if SEARCH says so too.

        Else nobody would ever take it, because the next listing begins above it.
        """
        described: dict[int, FetchedItem] = {}
        missing = uids
        for _ in range(2):
            items = await self._fetch(missing, "(UID RFC822.SIZE INTERNALDATE)")
            # Flags that others change meanwhile come as items of their own, without a size.
            described |= {item.uid: item for item in items if item.size_bytes is not None}
            missing = [uid for uid in uids if uid not in described]
        if missing:
            there = set(await self._client.search(f"UID {uid_set(missing)}"))
            described |= {uid: FetchedItem(uid, None, None, None) for uid in missing if uid in there}
        return described

    async def _fetch(self, uids: Sequence[int], what: str) -> list[FetchedItem]:
        return await self._client.fetch(uids, what) if uids else []

    async def _must(self, name: str, arguments: str) -> None:
        said = await self._client.execute(name, arguments)
        if said.word != "OK":
            raise self._client.refused(name, said)

    async def _fetch_one(self, uid: int, what: str) -> bytes:
        items = await self._fetch([uid], what)
        return next((item.content for item in items if item.uid == uid and item.content is not None), b"")

    async def _into(self, folder: str, command: str, uids: Sequence[int]) -> None:
        """MOVE or COPY; where the server refuses, create the folder and try once more."""
        client = self._client
        name = await client.folder_argument(folder)
        transfer = f"{uid_set(uids)} {name}"
        said = await client.execute(f"UID {command}", transfer)
        if said.word == "NO":
            # Not every server says TRYCREATE (RFC 3501 section 6.4.7); creating what exists does no harm.
            await client.execute("CREATE", name)
            said = await client.execute(f"UID {command}", transfer)
        if said.word != "OK":
            raise client.refused(f"UID {command} to {folder!r}", said)

    def _chunks(self, uids: Sequence[int]) -> list[Sequence[int]]:
        size = self._client.uids_per_command_max
        return [uids[start : start + size] for start in range(0, len(uids), size)]
