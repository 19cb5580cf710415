"""A chunk of mails on its way: what to prepare, what the server handed out of it, what was made of it, and the failure of one mail."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from postlane.core.events.mail import BlobRef
from postlane.core.events.received import MailReceived
from postlane.core.polling.folder import ListedMail
from postlane.core.polling.mailbox import Ending
from postlane.core.reading.mail_event import Place
from postlane.ports import NewRecord


class MailFailed(Exception):
    """One mail cannot be made an event. `permanent` = repeating will not help; `raw` where it was fetched."""

    def __init__(self, uid: int, cause: str, reason: str, *, permanent: bool = False) -> None:
        super().__init__(f"mail {uid}: {reason}")
        self.uid = uid
        self.cause = cause
        self.reason = reason
        self.permanent = permanent
        self.raw: bytes | None = None
        self.ref: BlobRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """An oversize mail whose raw bytes are in the store already; `ref` None: somebody removed it meanwhile."""

    mail: ListedMail
    ref: BlobRef | None = None
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the server handed out of a batch; from here on no session is needed. A UID without raw bytes is gone."""

    raws: Mapping[int, bytes]
    streamed: tuple[Streamed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What to prepare, for which mailbox; `is_repeat` says of a raw hash that its event exists already, None = none does."""

    mailbox: str
    folder: str
    uid_validity: int
    whole: Sequence[ListedMail]
    oversize: Sequence[ListedMail]
    is_repeat: Callable[[str], bool] | None

    def place(self, mail: ListedMail) -> Place:
        """Where this mail lies."""
        return Place(
            mailbox=self.mailbox,
            folder=self.folder,
            uid_validity=self.uid_validity,
            uid=mail.uid,
            received_at=mail.received_at,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """One listed mail on its way: its event, record and companions where it has them.

    `settles`: once this is durable the mail may be flagged, moved or deleted. `slim`: already cut to the bone.
    """

    uid: int
    ending: Ending
    event: MailReceived | None = None
    record: NewRecord | None = None
    companions: tuple[NewRecord, ...] = ()
    settles: bool = False
    slim: bool = False
