"""What a mail server says about a folder and its mails."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderState:
    """What SELECT says: `uid_next` is the UID that the next mail will have at least.

    `uid_next_told`: the server said so itself. Else it is derived from the newest mail, and goes down when that is removed.
    """

    uid_validity: int
    uid_next: int
    exists: int
    uid_next_told: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedMail:
    """One mail in a folder, known by UID, its size (RFC822.SIZE) and arrival (INTERNALDATE)."""

    uid: int
    size_bytes: int
    received_at: datetime
