"""A mail in a lane, and what the lanes and the outside tell each other about it."""

from dataclasses import dataclass, field

from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState, MailStatus, Origin
from postlane.core.events.trail import Dead, Done, Headers, Put
from postlane.core.routing.routes import DEFAULT_ROUTE
from postlane.core.sending.pointers import Pointers
from postlane.core.smtp.attempt import Judgement


@dataclass(frozen=True, slots=True)
class Stillborn:
    """A mail that ends without an attempt, such as one that cannot be decoded; `dead` sends a copy to the DLQ."""

    state: MailState
    cause: str
    reason: str
    dead: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The original record of a request. `stillborn` ends it unsent; without it `request` is set."""

    value: bytes | None
    headers: Headers
    request: MailRequested | None = None
    stillborn: Stillborn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A record read from the main partition. `remaining` narrows a replay to its undelivered recipients."""

    offset: int
    key: bytes | None
    content: Content
    remaining: tuple[str, ...] | None = None
    replay: bool = False


@dataclass(slots=True, eq=False)
class LaneMail:
    """One unfinished mail; mutable, owned by its lane.

    `retry_offset` says where its live `put` stands in the journal (None = not parked); `journaled` = it has one or shall get one. `content` is None while a parked
    mail's bytes lie in the journal alone. `held` > 0: it has died that often and a person decided, or has to, what becomes of it; `retried_by` is the last
    command to try it again that was obeyed, `route` as core.routing.routes says, or as the journal said. `due` and `first_seen` are seconds since 1970; `first_seen` moves on while
    the relay is held, so that held time does not age the mail. `for_sender`: a relay refuses its sender, and `due` is when that may be over.
    """

    origin: Origin
    key: bytes | None
    lane: bytes
    content: Content | None
    due: float
    first_seen: float
    attempt: int = 0
    remaining: tuple[str, ...] | None = None
    retry_offset: int | None = None
    held: int = 0
    cause: str = "new"
    reason: str = "waits for its turn"
    journaled: bool = False
    topic_rank: int = 0
    retried_by: str | None = None
    route: str = DEFAULT_ROUTE
    replay: bool = False
    for_sender: bool = False

    @property
    def wanted_by_a_person(self) -> bool:
        """Whether an operator had it sent again, by a replay or a decision."""
        return self.replay or self.retried_by is not None

    @property
    def parked(self) -> bool:
        """Whether the journal durably holds this mail."""
        return self.retry_offset is not None

    @property
    def request(self) -> MailRequested | None:
        """What is asked for, where its bytes are here and could be read."""
        return None if self.content is None else self.content.request

    @property
    def size_bytes(self) -> int:
        """What its content costs in memory."""
        return 0 if self.content is None or self.content.value is None else len(self.content.value)


# Events: what happened outside.


@dataclass(frozen=True, slots=True)
class Arrived:
    """Records handed to the lanes; `position` is the offset after the last of them."""

    arrivals: tuple[Arrival, ...]
    position: int


@dataclass(frozen=True, slots=True)
class SlotsFree:
    """The relays of a route take up to `count` more mails of this partition now."""

    count: int
    route: str = DEFAULT_ROUTE


@dataclass(frozen=True, slots=True)
class Loaded:
    """The bytes of a parked mail, read back from the journal; None if they are gone. `refresh` as it was asked for."""

    origin: Origin
    content: Content | None
    refresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """What one attempt came to; `jitter` in [0, 1) spreads the retry."""

    origin: Origin
    judgement: Judgement
    relay: str
    message_id: str | None
    jitter: float


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The attempt was not made, because the relays have no room for this mail now: it is as it was."""

    origin: Origin


@dataclass(frozen=True, slots=True)
class RouteHolds:
    """No relay of this route takes anything until about `until` (None: a person decides); `relay` is the one that will be tried first."""

    cause: str
    reason: str
    relay: str
    since: float
    until: float | None
    route: str = DEFAULT_ROUTE


@dataclass(frozen=True, slots=True)
class RouteOpens:
    """The hold of this route is over."""

    route: str = DEFAULT_ROUTE


@dataclass(frozen=True, slots=True)
class SendersDue:
    """A person wants mail whose sender was refused to be tried again now."""


@dataclass(frozen=True, slots=True)
class TicketHeld:
    """A person wants nothing of this ticket to be sent."""

    key: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class TicketFreed:
    """The hold of this ticket is over."""

    key: bytes


@dataclass(frozen=True, slots=True)
class MailDecided:
    """A person decided what becomes of a mail after its `held`-th death (0 = it has not died): skip it, or try it again.

    One that names another number is stale, and ignored. Every new owner hears all decisions again, so `command_id` tells one that was obeyed.
    """

    origin: Origin
    held: int
    skip: bool
    command_id: str


@dataclass(frozen=True, slots=True)
class CutDue:
    """The committer is free: cut a batch of what happened since the last one."""


@dataclass(frozen=True, slots=True)
class Staged:
    """The open batch lies in Kafka, not yet committed: offsets of its statuses and its puts, in the batch's order."""

    status_offsets: tuple[int, ...]
    put_offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Committed:
    """The open batch is durable."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The open batch did not happen; it is cut again."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event = (
    Arrived
    | SlotsFree
    | Loaded
    | AttemptEnded
    | NotStarted
    | RouteHolds
    | RouteOpens
    | SendersDue
    | TicketHeld
    | TicketFreed
    | MailDecided
    | CutDue
    | Staged
    | Committed
    | Aborted
    | Tick
)


# Effects: what the loop must do.


@dataclass(frozen=True, slots=True)
class Load:
    """Read a parked mail's bytes from the journal and report Loaded. `refresh`: only to write them there again."""

    origin: Origin
    retry_offset: int
    refresh: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """Send this mail by a relay of `route` to `remaining` (None = all recipients of the request) and report AttemptEnded."""

    origin: Origin
    content: Content
    attempt: int
    remaining: tuple[str, ...] | None
    route: str = DEFAULT_ROUTE
    wanted_by_a_person: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadCopy:
    """A dead-letter record: the original record with its obituary."""

    key: bytes | None
    content: Content
    dead: Dead


@dataclass(frozen=True, slots=True, kw_only=True)
class PutCopy:
    """A journal record: the original record with what is left to do."""

    key: bytes | None
    content: Content
    put: Put


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedStatus:
    """A status with the record key of its request."""

    key: bytes | None
    status: MailStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBatch:
    """Write all of this in one transaction, report Staged, then do what CommitBatch says, then report Committed.

    An empty batch (only the offset moves) has no records.
    """

    statuses: tuple[KeyedStatus, ...] = ()
    puts: tuple[PutCopy, ...] = ()
    dones: tuple[tuple[bytes | None, Done], ...] = ()
    dead: tuple[DeadCopy, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitBatch:
    """Send main-p's offset and pointers with the open transaction and commit it."""

    base: int
    pointers: Pointers


@dataclass(frozen=True, slots=True)
class PauseFetching:
    """The window is full, or so much is parked that the index would outgrow the memory."""

    index_full: bool = False


@dataclass(frozen=True, slots=True)
class ResumeFetching:
    """There is room again: fetch from `position`."""

    position: int


Effect = Load | Attempt | WriteBatch | CommitBatch | PauseFetching | ResumeFetching


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What a new owner knows of partition p before it starts (core.sending.recovery makes it).

    `done` maps origins at or above `base` to the status offset that proves their end. `parked` are live puts with their
    journal offsets, in lane order: those of earlier topics first. `seen` maps event ids of the duplicate window to (origin, seconds). `journal_marks` says when the journal's records were written (core.sending.journal_age).
    """

    base: int
    status_end: int
    retry_end: int
    done: dict[int, int] = field(default_factory=dict)
    truncated: bool = False  # must be committed at once: the next owner may no longer see it
    parked: tuple[tuple[int, bytes | None, Put], ...] = ()
    seen: dict[str, tuple[Origin, float]] = field(default_factory=dict)
    journal_marks: tuple[tuple[float, int], ...] = ()
