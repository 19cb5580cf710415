"""What an IMAP source asks of whatever speaks IMAP for it, and our own client, which gives it (docs/decisions/0020-imap-client.md)."""

from collections.abc import Callable, Sequence
from typing import Protocol

from postlane.adapters.imap_account import ImapAccount, SessionSlots
from postlane.adapters.imap_login import ImapLogin
from postlane.adapters.imap_session import ImapSession
from postlane.adapters.token_source import TokenSource
from postlane.core.imap.arguments import decode_folder, folder_name, place_folder, uid_set
from postlane.core.imap.facts import (
    FetchedItem,
    Namespace,
    SelectedFolder,
    read_delimiter,
    read_listed,
    read_namespace,
    read_search,
    read_select,
)
from postlane.core.imap.responses import Data, Status
from postlane.ports import MailSourceError, MailTrouble

UIDS_PER_COMMAND_MAX = 500  # of eleven characters: servers must take lines of 8,192 (RFC 7162 section 4)


class ImapClient(Protocol):
    """One session with one folder; every call ends by its deadline. Raises MailSourceError, after which the session is closed."""

    @property
    def uids_per_command_max(self) -> int:
        """How many mails one command may name."""

    async def log_in(self) -> None:
        """Connect and log in."""

    def can(self, capability: str) -> bool:
        """Whether the server has announced this capability."""

    async def select(self, folder: str) -> SelectedFolder:
        """Open a folder for reading and writing."""

    async def search(self, criteria: str) -> list[int]:
        """UID SEARCH: UIDs, ascending and distinct."""

    async def fetch(self, uids: Sequence[int], what: str) -> list[FetchedItem]:
        """UID FETCH of at most `uids_per_command_max` mails."""

    async def execute(self, name: str, arguments: str) -> Status:
        """A command, and whether it succeeded."""

    async def folder_argument(self, folder: str) -> str:
        """How a folder of ours is named in a command to this server."""

    @property
    def has_news(self) -> bool:
        """Whether the server has told of more mail since the last search began."""

    async def idle(self, timeout_seconds: float) -> bool | None:
        """Whether there is news of mail within this time; None where the server refuses to IDLE."""

    async def sleep(self, timeout_seconds: float) -> bool:
        """The same without IDLE; at the end the session is proven to live."""

    def refused(self, name: str, said: Status) -> MailSourceError:
        """Close the session and make the error of a refusal."""

    def broken(self, reason: str, *, trouble: MailTrouble = MailTrouble.CONNECTION) -> MailSourceError:
        """Close the session and make the error that tells why."""

    async def close(self) -> None:
        """Log out politely, within a short deadline."""


class PostlaneClient:
    """Our own. `slots` caps the sessions at the account, `tokens` gives what logs in by access token, where it does."""

    def __init__(
        self,
        account: ImapAccount,
        *,
        tokens: Callable[[], TokenSource | None] = lambda: None,
        slots: SessionSlots | None = None,
        connections: int = 1,
    ) -> None:
        self._account = account
        self._tokens = tokens
        self._slots = slots
        self._connections = connections
        self._session = ImapSession(account)
        self._namespace: Namespace | None = None
        self._give_back: Callable[[], None] | None = None

    @property
    def uids_per_command_max(self) -> int:
        """See ImapClient.uids_per_command_max."""
        return UIDS_PER_COMMAND_MAX

    async def log_in(self) -> None:
        """See ImapClient.log_in; raises MailSourceError of MailTrouble.LIMIT where no slot becomes free."""
        if self._slots is not None and self._give_back is None:
            self._give_back = await self._slots.take(self._account, self._connections)
        try:
            await ImapLogin(self._session, self._tokens()).open()
        except BaseException:
            self._session.drop()
            self._release()
            raise

    def can(self, capability: str) -> bool:
        """See ImapClient.can."""
        return self._session.can(capability)

    async def select(self, folder: str) -> SelectedFolder:
        """See ImapClient.select."""
        name = await self.folder_argument(folder)
        exchange = await self._session.command("SELECT", name.encode(), wanted={"EXISTS"})
        selected = read_select(exchange.lines)
        self._session.told.selected(selected)
        return selected

    async def folders(self) -> list[str]:
        """The names of all folders that can be opened, for people; instead of opening one."""
        exchange = await self._session.command("LIST", b'"" "*"', wanted={"LIST"})
        named = [read_listed(line) for line in exchange.lines if isinstance(line, Data)]
        return sorted(
            name if self._session.utf8 else decode_folder(name) for name in named if name is not None
        )

    async def search(self, criteria: str) -> list[int]:
        """See ImapClient.search."""
        self._session.told.searching()
        exchange = await self._session.command("UID SEARCH", criteria.encode(), wanted={"SEARCH"})
        found = [uid for line in exchange.lines if isinstance(line, Data) for uid in read_search(line)]
        return sorted(set(found))

    async def fetch(self, uids: Sequence[int], what: str) -> list[FetchedItem]:
        """See ImapClient.fetch."""
        words = f"{uid_set(uids)} {what}".encode()
        exchange = await self._session.command("UID FETCH", words, wanted={"FETCH"}, streams=True)
        return exchange.items

    async def execute(self, name: str, arguments: str) -> Status:
        """See ImapClient.execute."""
        done = (await self._session.run(name, arguments.encode())).done
        assert done is not None
        return done

    async def folder_argument(self, folder: str) -> str:
        """See ImapClient.folder_argument."""
        if self._namespace is None and folder.upper() != "INBOX":
            self._namespace = await self._own_namespace()
        try:
            placed = place_folder(folder, self._namespace or Namespace())
            return folder_name(placed, utf8=self._session.utf8)
        except ValueError as error:
            words = f"folder {folder!r} cannot be asked for: {error}"
            raise self._session.broken(words, trouble=MailTrouble.REFUSED) from None

    @property
    def has_news(self) -> bool:
        """See ImapClient.has_news."""
        return self._session.told.has_news

    async def idle(self, timeout_seconds: float) -> bool | None:
        """See ImapClient.idle."""
        return await self._session.idle(timeout_seconds)

    async def sleep(self, timeout_seconds: float) -> bool:
        """See ImapClient.sleep."""
        return await self._session.sleep(timeout_seconds)

    def refused(self, name: str, said: Status) -> MailSourceError:
        """See ImapClient.refused."""
        return self._session.refused(name, said)

    def broken(self, reason: str, *, trouble: MailTrouble = MailTrouble.CONNECTION) -> MailSourceError:
        """See ImapClient.broken."""
        return self._session.broken(reason, trouble=trouble)

    async def close(self) -> None:
        """See ImapClient.close."""
        try:
            await self._session.close()
        finally:
            self._release()

    def _release(self) -> None:
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()

    async def _own_namespace(self) -> Namespace:
        """What the server says of its own; a refusal means the common case."""
        session = self._session
        if session.can("NAMESPACE"):
            exchange = await session.run("NAMESPACE", wanted={"NAMESPACE"})
            for line in exchange.lines:
                if isinstance(line, Data) and (namespace := read_namespace(line)) is not None:
                    return namespace
        exchange = await session.run("LIST", b'"" ""', wanted={"LIST"})
        for line in exchange.lines:
            if isinstance(line, Data) and (delimiter := read_delimiter(line)) is not None:
                return Namespace("", delimiter)
        return Namespace()
