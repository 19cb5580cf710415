"""One folder on its way into Kafka: what to take next, what the cursor says afterwards (core.polling.mailbox_opening: where to start).

The cursor is written in the transaction that holds the events which it covers, so whatever happens, the next owner goes on exactly behind
the last produced mail. Settling (flag, move, delete) comes after the commit; core.polling.unsettled says what of it is still to be done.

A changed UIDVALIDITY (RFC 9051 section 2.3.1.1), or a folder that is behind its own cursor, makes the old UIDs meaningless. Then the folder is scanned again
and mails whose raw bytes are already on `mail.inbound` are skipped. Until that scan is over the *old* UIDVALIDITY (or none, 0) stays in the cursor: a
crash in between starts the scan anew, and what it had produced is then found on `mail.inbound` like everything before.

Whoever restores a mailbox may still be putting mails back when the scan is over. So what comes into the folder is compared in the same way until no repeat has been met
for an hour.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import takewhile

from postlane.core.events.received import MailboxCursor
from postlane.core.polling.folder import ListedMail

OVERSIZE_COUNTS_AS_BYTES = 64 * 1024  # of an oversize mail only the header and one part at a time are held
COMPARED_FOR = timedelta(hours=1)  # after the last repeat; a pause in a restore is shorter


class Ending(Enum):
    """How one listed mail ended."""

    PRODUCED = auto()
    QUARANTINED = auto()
    SKIPPED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescan:
    """A scan of a folder whose UIDs have become meaningless: up to which UID, and from which arrival on mails count."""

    until_uid: int
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a folder is. `cursor` is what Kafka holds or must hold next; `uid_validity` and `uid` are the live position."""

    cursor: MailboxCursor
    uid_validity: int
    uid: int
    rescan: Rescan | None = None

    @property
    def is_compared(self) -> bool:
        """Whether mails may be repeats: a scan goes on, or a restore may do so behind it."""
        return self.rescan is not None or self.cursor.compared_until is not None

    @property
    def counts_since(self) -> datetime | None:
        """Mails that arrived earlier are passed over; None = all count."""
        if self.rescan is not None:
            return self.rescan.since
        return None if self.cursor.compared_until is None else self.cursor.compared_since


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose folder it is, and which process writes its cursor."""

    mailbox: str
    folder: str
    instance: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken at once; a mail above `oversize_bytes` is never held whole."""

    chunk_mails: int
    chunk_bytes: int
    oversize_bytes: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next mails in UID order: all up to `last_uid` end together.

    `passed_over` are too old for a rescan; they never share a chunk with others, because nothing of them is fetched.
    """

    whole: tuple[ListedMail, ...]
    oversize: tuple[ListedMail, ...]
    passed_over: tuple[ListedMail, ...]
    last_uid: int

    @property
    def uids(self) -> tuple[int, ...]:
        """All of them, ascending."""
        return tuple(sorted(mail.uid for mail in (*self.whole, *self.oversize, *self.passed_over)))

    @property
    def held_bytes(self) -> int:
        """About how much of it is in memory at once."""
        whole = sum(mail.size_bytes for mail in self.whole)
        return whole + OVERSIZE_COUNTS_AS_BYTES * len(self.oversize)


def plan_chunk(progress: Progress, listed: Sequence[ListedMail], limits: Limits) -> Chunk:
    """Take as many of the listed mails (ascending, above `progress.uid`, not empty) as fit; always at least one."""
    since = progress.counts_since
    if _passes(since, listed[0]):
        old = tuple(takewhile(lambda mail: _passes(since, mail), listed))
        return Chunk((), (), old, old[-1].uid)
    whole: list[ListedMail] = []
    oversize: list[ListedMail] = []
    held_bytes = 0
    last_uid = progress.uid
    for mail in takewhile(lambda mail: not _passes(since, mail), listed):
        is_oversize = mail.size_bytes > limits.oversize_bytes
        cost = OVERSIZE_COUNTS_AS_BYTES if is_oversize else mail.size_bytes
        count = len(whole) + len(oversize)
        if count and (count >= limits.chunk_mails or held_bytes + cost > limits.chunk_bytes):
            break
        (oversize if is_oversize else whole).append(mail)
        held_bytes += cost
        last_uid = mail.uid
    return Chunk(tuple(whole), tuple(oversize), (), last_uid)


def _passes(since: datetime | None, mail: ListedMail) -> bool:
    return since is not None and mail.received_at < since


def rescan_from(progress: Progress, first_uid: int) -> Progress:
    """A scan that begins at this UID, because everything below arrived too early to count."""
    return replace(progress, uid=first_uid - 1)


def is_repeat(progress: Progress, sha256: str, known: Container[str]) -> bool:
    """Whether a mail is met again whose event is already there; where nothing was renumbered mails are never compared."""
    return progress.is_compared and sha256 in known


def after_chunk(
    progress: Progress, last_uid: int, endings: Mapping[int, Ending], identity: Identity, now: datetime
) -> Progress:
    """The progress once all mails up to `last_uid` have ended; its cursor belongs into the same transaction."""
    counts = {ending: sum(1 for one in endings.values() if one is ending) for ending in Ending}
    counted = replace(
        progress.cursor,
        listed=progress.cursor.listed + len(endings),
        produced=progress.cursor.produced + counts[Ending.PRODUCED],
        quarantined=progress.cursor.quarantined + counts[Ending.QUARANTINED],
        skipped=progress.cursor.skipped + counts[Ending.SKIPPED],
        instance=identity.instance,
    )
    if progress.rescan is None and progress.is_compared and counts[Ending.SKIPPED]:
        counted = replace(counted, compared_until=now + COMPARED_FOR)
    moved = replace(progress, cursor=counted, uid=last_uid)
    if progress.rescan is not None and last_uid < progress.rescan.until_uid:
        return moved
    return _current(moved, now)


def after_rescan(progress: Progress, now: datetime) -> Progress:
    """The scan found nothing further: the new UIDVALIDITY holds from here on; the cursor is to be written."""
    assert progress.rescan is not None
    reached = max(progress.uid, progress.rescan.until_uid)
    return _current(replace(progress, uid=reached), now)


def _current(progress: Progress, now: datetime) -> Progress:
    """The live position put into the cursor; when a scan ends, what comes is compared for a while."""
    cursor = replace(
        progress.cursor,
        uid_validity=progress.uid_validity,
        uid=progress.uid,
        updated_at=now,
    )
    if progress.rescan is not None:
        cursor = replace(cursor, compared_since=progress.rescan.since, compared_until=now + COMPARED_FOR)
    return replace(progress, cursor=cursor, rescan=None)


def no_longer_compared(progress: Progress, now: datetime) -> Progress:
    """The same, without comparing once no repeat has been met for long enough."""
    until = progress.cursor.compared_until
    if progress.rescan is not None or until is None or now < until:
        return progress
    return replace(progress, cursor=replace(progress.cursor, compared_since=None, compared_until=None))


def checked(progress: Progress, at: datetime) -> Progress:
    """Everything that had arrived by then has ended; a later scan need not look at mail that arrived before."""
    return (
        replace(progress, cursor=replace(progress.cursor, checked_at=at))
        if progress.rescan is None
        else progress
    )


def after_passing_over(progress: Progress, chunk: Chunk, identity: Identity, now: datetime) -> Progress:
    """Mails too old for a scan are skipped and stay as they are."""
    endings = {mail.uid: Ending.SKIPPED for mail in chunk.passed_over}
    return after_chunk(progress, chunk.last_uid, endings, identity, now)
