"""The seams between loops and I/O; a Protocol stands here only where a fake exists beside the real adapter.

`EventLog` and `LogWriter` block and are called from threads, as librdkafka works; the mail ports are async.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from postlane.core.events.mail import BlobRef
from postlane.core.events.trail import Headers
from postlane.core.polling.folder import FolderState, ListedMail
from postlane.core.routing.mail_domains import TakesNoMail
from postlane.core.smtp.transcript import Envelope, Transcript


@dataclass(frozen=True, slots=True)
class TopicPartition:
    """One partition of one topic, by the topic's full (prefixed) name."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """A record as read; `timestamp_ms` is the broker's or producer's, milliseconds since 1970 UTC."""

    at: TopicPartition
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecord:
    """A record to be written to an explicit partition."""

    to: TopicPartition
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class CommitPoint:
    """A group's committed offset of one partition with its metadata (at most 4096 bytes at the broker)."""

    offset: int
    metadata: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """A partition's low watermark and its end (high watermark: the next offset to be written)."""

    low: int
    end: int


class Fenced(Exception):
    """A newer owner has taken the transactional id over, or the group no longer counts us in: forget the partition."""


class TransactionAborted(Exception):
    """The open transaction was aborted as a whole; what it held must be rebuilt and written again."""


class RecordRefused(Exception):
    """The broker refuses one record for good (too large, invalid); the transaction was aborted.

    `index` is the record's place in the staged sequence.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"record {index} refused: {reason}")
        self.index = index
        self.reason = reason


class LogUnavailable(Exception):
    """Kafka does not answer or is not ready; the same call may be made again."""


class LogWriter(Protocol):
    """The holder of one transactional id; at most one transaction is open. Not thread-safe; every call blocks."""

    def take_over(self) -> None:
        """Fence former holders and finish or abort what they left open (`init_transactions`). Raises Fenced, LogUnavailable."""

    def stage(self, records: Sequence[NewRecord]) -> list[int]:
        """Begin a transaction, produce, flush; return the records' offsets in order.

        Raises Fenced, TransactionAborted, RecordRefused, LogUnavailable; after any of the last three no transaction is open.
        """

    def commit(
        self,
        group_member: "GroupMember | None" = None,
        points: "Sequence[tuple[TopicPartition, CommitPoint]]" = (),
    ) -> None:
        """Send the group's offsets with the transaction and commit it.

        A commit that times out is unknown and is repeated here until it is known (KIP-98) or `close` ends it (Fenced: the next owner
        learns the outcome). A generation that a rebalance has just made old aborts as long as the member still owns the
        partitions. Raises Fenced, TransactionAborted; ValueError for metadata over 4096 bytes.
        """

    def abort(self) -> None:
        """Abort what is staged, if anything is. Raises Fenced; what Kafka does not answer in time is aborted before the next `stage`."""

    def close(self) -> None:
        """Give up the id, also from another thread: an open transaction is aborted, and every other call ends with Fenced."""


Wanted = Callable[[bytes | None, bytes | None], bool]


class EventLog(Protocol):
    """Kafka as the services see it."""

    def writer(self, transactional_id: str) -> LogWriter:
        """A new writer with that id; it does nothing until `take_over`."""

    def topic_id(self, topic: str) -> str:
        """The id the broker gave the topic when it was created (KIP-516)."""

    def partition_count(self, topic: str) -> int:
        """How many partitions the topic has now."""

    def bounds(self, at: TopicPartition) -> Bounds:
        """Low watermark and high watermark (read_uncommitted)."""

    def offset_at(self, at: TopicPartition, timestamp_ms: int) -> int:
        """The first offset (of a record or marker) whose timestamp is at or after the given one; the end if there is none."""

    def committed(self, group: str, at: TopicPartition) -> CommitPoint | None:
        """The group's committed offset, None where there is none; what an open transaction would commit is waited for, up to a limit."""

    def read(
        self,
        at: TopicPartition,
        start: int,
        stop: int,
        timeout_seconds: float,
        *,
        wanted: "Wanted | None" = None,
    ) -> Iterator[list[LogRecord]]:
        """Batches of committed records from `start` (or the low watermark above it) until the position reaches `stop`.

        `wanted` sees keys and values first: what it does not want costs a fraction of a record.

        Raises LogUnavailable when that takes longer than `timeout_seconds` without progress (an open transaction below `stop`).
        """

    def hidden(self, at: TopicPartition) -> LogRecord | None:
        """The last record that a transaction without an end hides from readers of committed records; None where nothing is hidden."""

    def stable_end(self, at: TopicPartition) -> int:
        """The last stable offset: the first record of a transaction without an end; the partition's end where there is none."""

    def ends(self, places: Collection[TopicPartition], *, stable: bool) -> dict[TopicPartition, int]:
        """The ends of many partitions, or their last stable offsets, asked for at once. Raises LogUnavailable."""

    def unstable(self, at: TopicPartition) -> Iterator[list[LogRecord]]:
        """Batches of all records from the last stable offset to the end, whatever becomes or became of them. Raises LogUnavailable."""

    def fetch_at(self, at: TopicPartition, offsets: Sequence[int]) -> list[LogRecord]:
        """The records at these offsets (ascending), read_committed; an offset that is gone is left out."""

    def follow(self, starts: Mapping[TopicPartition, int], heard: "RecordsHeard") -> "Following":
        """Committed records from these offsets on, as they come; `heard` is called from a thread of its own, until `close`.

        What retention has deleted is passed over; while Kafka is away, nothing comes.
        """

    def publisher(self, name: str) -> "Publisher":
        """A writer of records outside any transaction; `name` is what brokers know it by."""

    def join(self, group: str, topic: str, listener: "GroupListener") -> "GroupMember":
        """Join a consumer group on one topic; the listener is called from the member's thread."""

    def close(self) -> None:
        """Release clients."""


RecordsHeard = Callable[[list[LogRecord]], None]
"""Records of one or more partitions, of each in offset order."""


class Following(Protocol):
    """What `EventLog.follow` began."""

    @property
    def fault(self) -> Exception | None:
        """Why nothing is heard any more, although nobody has closed it."""
        ...

    def close(self) -> None:
        """Nothing is heard any more once this returns."""


class Publisher(Protocol):
    """Writes in the order of `publish`, without a promise: what Kafka does not take within seconds is given up, with a line in the log.

    For what is said again anyhow. Thread-safe.
    """

    def publish(self, record: NewRecord) -> None:
        """Send it off; does not wait."""

    def close(self, timeout_seconds: float) -> None:
        """Wait so long for what is under way, then end."""


class GroupListener(Protocol):
    """What a group member tells its service; called from the member's thread, may block for a bounded time."""

    def assigned(self, partitions: Sequence[int]) -> None:
        """These partitions are now ours; recover them, then `start` them."""

    def revoked(self, partitions: Sequence[int]) -> None:
        """These partitions are taken away; return once their work is committed or given up."""

    def lost(self, partitions: Sequence[int]) -> None:
        """These partitions belong to somebody else already; nothing of theirs may be committed."""

    def fetched(self, partition: int, session: int, records: list[LogRecord]) -> None:
        """Records of a started partition, in offset order; control records leave gaps.

        `session` is what `start` returned: records of an older session say nothing about what comes before them.
        """

    def stumbled(self, error: str, fatal: bool) -> None:
        """The broker is away or refuses us; `error` is one line for people."""


class GroupMember(Protocol):
    """A membership in a consumer group whose partitions are fetched only once started. Thread-safe."""

    def start(self, partition: int, offset: int) -> int:
        """Fetch this assigned partition from `offset`, also again after `pause`; return the number of this fetch session."""

    def pause(self, partition: int) -> None:
        """Stop fetching; records already fetched may still arrive, they belong to the session that was."""

    def close(self) -> None:
        """Leave the group: `revoked` is called for what is owned, then the thread ends."""


class MailSink(Protocol):
    """A pool of SMTP sessions to one relay."""

    async def send(self, envelope: Envelope, message: bytes) -> Transcript:
        """Make one attempt and return what the relay said; never raises for what a relay or the network does."""

    async def close(self) -> None:
        """End idle sessions politely and cut the rest."""


class MailDomains(Protocol):
    """What DNS says about the domains of recipients."""

    async def check(self, recipients: Sequence[str]) -> dict[str, TakesNoMail]:
        """The recipients, as given, whose domain takes no mail; within a time limit, and never raises.

        Whoever is not named goes on: the domain takes mail, DNS does not say, or it has no say (address literals, names without a dot).
        """

    async def close(self) -> None:
        """Give up what is still being looked up; from then on nobody is named."""


class BlobStore(Protocol):
    """Content-addressed, write-once storage for raw mail and large attachments."""

    async def put(self, content: bytes) -> BlobRef:
        """Make the content durable and return its name; writing it again refreshes its age. Raises BlobStoreError."""

    async def put_all(self, contents: Sequence[bytes]) -> list[BlobRef]:
        """The same for many, which is cheaper than one by one; the names in order. All are durable, or it raises BlobStoreError and any may be."""

    async def put_stream(self, parts: AsyncIterator[bytes]) -> BlobRef:
        """The same for content too large to be held, in parts; nothing is kept when `parts` raises. Raises BlobStoreError."""

    async def get(self, ref: BlobRef) -> bytes:
        """The content, checked against its name. Raises BlobMissing, BlobStoreError."""


class BlobMissing(Exception):
    """No blob of that name is in the store."""


class BlobStoreError(Exception):
    """The store cannot be read or written, or holds something else under that name; the same call may be made again."""


class MailTrouble(StrEnum):
    """Why a mail source gives nothing, as metrics and alarms name it."""

    CONNECTION = "connection"  # not reached, lost, silent
    TLS = "tls"  # not trusted, not offered
    PROTOCOL = "protocol"  # what it says is no IMAP, or more than can be held
    REFUSED = "refused"  # it says no
    LIMIT = "limit"  # it, or our own configuration, wants fewer sessions or requests
    AUTH = "auth"  # it does not let us in: a person must act
    GRANT = "grant"  # the token endpoint refuses: a person must give the grant anew
    TOKEN = "token"  # noqa: S105 - the token endpoint does not answer


class MailSourceError(Exception):
    """The mail server refuses or does not answer; `retry_after_seconds` where it said so. The session is closed.

    `auth`: a person must act on the login or the grant; trying again quickly could lock the account.
    """

    def __init__(
        self,
        message: str,
        *,
        auth: bool = False,
        retry_after_seconds: float | None = None,
        trouble: MailTrouble | None = None,
    ) -> None:
        super().__init__(message)
        self.trouble = trouble or (MailTrouble.AUTH if auth else MailTrouble.CONNECTION)
        self.auth = self.trouble in {MailTrouble.AUTH, MailTrouble.GRANT}
        self.retry_after_seconds = retry_after_seconds


class MailSource(Protocol):
    """One authenticated IMAP session on one selected folder; every call has a deadline. Raises MailSourceError."""

    async def open(self, folder: str) -> FolderState:
        """Connect, log in and select the folder."""

    async def list_since(self, uid: int, limit: int) -> list[ListedMail]:
        """Mails with a UID above `uid`, ascending, at most `limit` (`UID n:*` quirk of RFC 3501 6.4.8 removed)."""

    async def count_above(self, uid: int) -> int:
        """How many mails have a UID above `uid`."""

    async def count_since(self, received_at: datetime) -> int:
        """How many mails arrived on or after that day."""

    async def first_uid_since(self, received_at: datetime) -> int | None:
        """The lowest UID of a mail that arrived on or after that day; None if there is none."""

    async def fetch(self, uids: Sequence[int]) -> dict[int, bytes]:
        """Raw bytes by UID (BODY.PEEK[]); a mail that is gone is left out."""

    async def fetch_part(self, uid: int, start: int, size: int) -> bytes:
        """Bytes `start..start+size` of one mail (BODY.PEEK[]<start.size>); shorter at the end, empty past it."""

    async def fetch_header(self, uid: int) -> bytes:
        """The header block alone (BODY.PEEK[HEADER])."""

    async def flag(self, uids: Sequence[int], flag: str) -> None:
        """Add a system or keyword flag, such as Seen with its backslash."""

    async def move(self, uids: Sequence[int], folder: str) -> None:
        """Move to another folder, creating it if need be (MOVE, else COPY + STORE + UID EXPUNGE)."""

    async def delete(self, uids: Sequence[int]) -> None:
        """Delete exactly these (UID EXPUNGE); without UIDPLUS only flag them deleted."""

    async def wait_for_change(self, timeout_seconds: float) -> bool:
        """IDLE (or sleep where the server cannot) until something changed (True) or the time is over (False).

        What was told since the last listing began counts, and may be in it already: list, and wait again. May be cancelled.
        """

    async def close(self) -> None:
        """Log out politely, within a short deadline."""


Clock = Callable[[], float]
