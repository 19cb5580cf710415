"""What a server has told that stays true beyond the command beside which it was told: what it can do, and whether there is new mail."""

from postlane.core.imap.facts import SelectedFolder, read_capabilities, read_uid_validity
from postlane.core.imap.responses import Data, Response, Status


class Announcements:
    """`capabilities`: None = none since the connection, TLS or login. `has_news`: more mails than before, since the last search began."""

    __slots__ = ("_exists", "_uid_validity", "capabilities", "has_news", "is_renumbered")

    def __init__(self) -> None:
        self.capabilities: frozenset[str] | None = None
        self.has_news = False
        self.is_renumbered = False  # UIDs do not mean any more what they meant when the folder was opened
        self._exists = 0
        self._uid_validity: int | None = None

    def note(self, response: Response) -> None:
        """Read what is of interest in any response, asked for or not (RFC 3501 section 5.2)."""
        match response:
            case Status(code=code) if code.upper().startswith("CAPABILITY "):
                self.capabilities = read_capabilities(code)
            case Status(code=code) if (number := read_uid_validity(code)) is not None:
                self.is_renumbered = self._uid_validity not in {None, number}
            case Data(name="CAPABILITY"):
                self.capabilities = read_capabilities(response.rest[0].decode("ascii", "replace"))
            case Data(name="EXISTS", number=int(number)):
                self.has_news = self.has_news or number > self._exists
                self._exists = number
            case Data(name="EXPUNGE"):
                self._exists = max(0, self._exists - 1)

    def selected(self, folder: SelectedFolder) -> None:
        """A folder is open: from here on, more than so many mails are news."""
        self._exists, self.has_news = folder.exists, False
        self._uid_validity = folder.uid_validity

    def searching(self) -> None:
        """A look at the folder begins: what is told from here on is news."""
        self.has_news = False
