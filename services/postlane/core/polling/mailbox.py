"""One folder on its way into Kafka: what to take next, what the cursor says afterwards (core.polling.mailbox_opening: where to start).

The cursor is written in the transaction that holds the events which it covers, so whatever happens, the next owner goes on exactly behind
the last produced mail. Settling (flag, move, delete) comes after the commit; core.polling.unsettled says what of it is still to be done.

A changed UIDVALIDITY (RFC 9051 section 2.3.1.1), or a folder that is behind its own cursor, makes the old UIDs meaningless. Then the folder is scanned again
and mails whose raw bytes are already on `mail.inbound` are skipped. Until that scan is over the *old* UIDVALIDITY (or none, 0) stays in the cursor: a
crash in between starts the scan anew, and what it had produced is then found on `mail.inbound` like everything before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from itertools import takewhile

from postlane.core.events.received import MailboxCursor
from postlane.core.polling.folder import ListedMail

OVERSIZE_COUNTS_AS_BYTES = 64 * 1024  # of an oversize mail only the header and one part at a time are held


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
    if _passes(progress.rescan, listed[0]):
        old = tuple(takewhile(lambda mail: _passes(progress.rescan, mail), listed))
        return Chunk((), (), old, old[-1].uid)
    whole: list[ListedMail] = []
    oversize: list[ListedMail] = []
    held_bytes = 0
    last_uid = progress.uid
    for mail in takewhile(lambda mail: not _passes(progress.rescan, mail), listed):
        is_oversize = mail.size_bytes > limits.oversize_bytes
        cost = OVERSIZE_COUNTS_AS_BYTES if is_oversize else mail.size_bytes
        count = len(whole) + len(oversize)
        if count and (count >= limits.chunk_mails or held_bytes + cost > limits.chunk_bytes):
            break
        (oversize if is_oversize else whole).append(mail)
        held_bytes += cost
        last_uid = mail.uid
    return Chunk(tuple(whole), tuple(oversize), (), last_uid)


def _passes(rescan: Rescan | None, mail: ListedMail) -> bool:
    if rescan is None or rescan.since is None or mail.uid > rescan.until_uid:
        return False
    return mail.received_at < rescan.since


def rescan_from(progress: Progress, first_uid: int) -> Progress:
    """A scan that begins at this UID, because everything below arrived too early to count."""
    return replace(progress, uid=first_uid - 1)


def is_repeat(progress: Progress, uid: int, sha256: str, known: frozenset[str]) -> bool:
    """Whether a scan meets a mail again whose event is already there; new mails are never compared."""
    return progress.rescan is not None and uid <= progress.rescan.until_uid and sha256 in known


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
    """The live position put into the cursor."""
    cursor = replace(
        progress.cursor,
        uid_validity=progress.uid_validity,
        uid=progress.uid,
        updated_at=now,
    )
    return replace(progress, cursor=cursor, rescan=None)


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
