"""One folder on its way into Kafka: where to start, what to take next, what the cursor says afterwards.

The cursor is written in the transaction that holds the events which it covers, so whatever happens, the next owner goes on exactly behind
the last produced mail. Settling (flag, move, delete) comes after the commit and is repeated from `settled_uid` on.

A changed UIDVALIDITY (RFC 9051 section 2.3.1.1) makes the old UIDs meaningless. Then the folder is scanned again and mails whose raw bytes are already on
`mail.inbound` are skipped. Until that scan is over the *old* UIDVALIDITY stays in the cursor: a crash in between starts the scan
anew, and what it had produced is then found on `mail.inbound` like everything before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum, auto
from itertools import takewhile
from typing import Literal

from postlane.core.folder import FolderState, ListedMail
from postlane.core.received import MailboxCursor

Start = Literal["new", "all"] | date

RESCAN_MARGIN = timedelta(
    days=1
)  # the mail server's clock and ours may differ; repeats are found by their hash
OVERSIZE_COUNTS_AS_BYTES = 64 * 1024  # of an oversize mail only the header and one part at a time are held
FAILURES_MAX = 5  # the fifth failure of one mail, with the mailbox working otherwise, is the mail's own fault


class Ending(Enum):
    """How one listed mail ended."""

    PRODUCED = auto()
    QUARANTINED = auto()
    SKIPPED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescan:
    """A scan after a change of UIDVALIDITY: up to which UID, and from which arrival on mails count."""

    until_uid: int
    since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a folder is. `cursor` is what Kafka holds or must hold next; `uid` and `settled_uid` are the live position."""

    cursor: MailboxCursor
    uid_validity: int
    uid: int
    settled_uid: int
    rescan: Rescan | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """The cursor holds: settle what a crash cut off, then go on."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Begin:
    """Never seen before, or starting anew: the cursor must be written first, so that a crash does not skip what comes now."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class BeginAtDate:
    """Never seen before: ask the server for the first UID of that day, then `begin_at`."""

    since: datetime


@dataclass(frozen=True, slots=True)
class Renumbered:
    """UIDVALIDITY has changed: read back what was produced, say so loudly once, then scan."""

    progress: Progress


Opening = Resume | Begin | BeginAtDate | Renumbered


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose folder it is, and which process writes its cursor."""

    mailbox: str
    folder: str
    instance: str


def open_folder(
    identity: Identity, cursor: MailboxCursor | None, folder: FolderState, start: Start, now: datetime
) -> Opening:
    """Decide how to go on with a folder that has just been selected."""
    if cursor is None:
        match start:
            case "new":
                return Begin(begin_at(identity, folder, folder.uid_next, now))
            case "all":
                return Begin(begin_at(identity, folder, 1, now))
            case date():
                return BeginAtDate(_day(start))
    if cursor.uid_validity == folder.uid_validity:
        return Resume(
            Progress(
                cursor=cursor,
                uid_validity=cursor.uid_validity,
                uid=cursor.uid,
                settled_uid=min(cursor.settled_uid, cursor.uid),
            )
        )
    rescan = Rescan(until_uid=folder.uid_next - 1, since=_rescan_since(cursor, start))
    return Renumbered(
        Progress(cursor=cursor, uid_validity=folder.uid_validity, uid=0, settled_uid=0, rescan=rescan)
    )


def begin_at(identity: Identity, folder: FolderState, first_uid: int, now: datetime) -> Progress:
    """The progress of a folder whose first mail to be taken has this UID."""
    cursor = MailboxCursor(
        mailbox=identity.mailbox,
        folder=identity.folder,
        uid_validity=folder.uid_validity,
        uid=first_uid - 1,
        settled_uid=first_uid - 1,
        updated_at=now,
        instance=identity.instance,
    )
    return Progress(
        cursor=cursor, uid_validity=folder.uid_validity, uid=first_uid - 1, settled_uid=first_uid - 1
    )


def _day(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _rescan_since(cursor: MailboxCursor, start: Start) -> datetime | None:
    """Mails that arrived earlier were left out on purpose or have been seen; with `all` nothing is left out."""
    match start:
        case "new":
            return cursor.updated_at - RESCAN_MARGIN
        case "all":
            return None
        case date():
            return _day(start)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken at once; a mail above `oversize_bytes` is never held whole."""

    chunk_mails: int
    chunk_bytes: int
    oversize_bytes: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next mails in UID order: all up to `last_uid` end together.

    `passed_over` are too old for a rescan; they never share a chunk with others, because they must not be settled.
    """

    whole: tuple[ListedMail, ...]
    oversize: tuple[ListedMail, ...]
    passed_over: tuple[ListedMail, ...]
    last_uid: int


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
    return replace(progress, uid=first_uid - 1, settled_uid=first_uid - 1)


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
    # A scan passes old mails over; a range that still waited for settling must never reach across them.
    settled_uid = progress.settled_uid if progress.rescan is None else max(progress.settled_uid, progress.uid)
    moved = replace(progress, cursor=counted, uid=last_uid, settled_uid=settled_uid)
    if progress.rescan is not None and last_uid < progress.rescan.until_uid:
        return moved
    return _current(moved, now)


def after_rescan(progress: Progress, now: datetime) -> Progress:
    """The scan found nothing further: the new UIDVALIDITY holds from here on; the cursor is to be written."""
    assert progress.rescan is not None
    reached = max(progress.uid, progress.rescan.until_uid)
    return _current(replace(progress, uid=reached, settled_uid=reached), now)


def _current(progress: Progress, now: datetime) -> Progress:
    """The live position put into the cursor."""
    cursor = replace(
        progress.cursor,
        uid_validity=progress.uid_validity,
        uid=progress.uid,
        settled_uid=progress.settled_uid,
        updated_at=now,
    )
    return replace(progress, cursor=cursor, rescan=None)


def with_settled(progress: Progress, uid: int) -> Progress:
    """Nothing up to this UID waits for settling any more; while a scan runs the cursor keeps the old folder's numbers."""
    settled_uid = max(progress.settled_uid, uid)
    cursor = progress.cursor
    if progress.rescan is None:
        cursor = replace(cursor, settled_uid=settled_uid)
    return replace(progress, settled_uid=settled_uid, cursor=cursor)


def after_quarantine(progress: Progress, uid: int, identity: Identity, now: datetime) -> Progress:
    """One mail is in quarantine, alone in its transaction, and leaves nothing to settle.

    It stays in its folder as it is; so the range that a restart settles must not reach over it.
    """
    ended = after_chunk(progress, uid, {uid: Ending.QUARANTINED}, identity, now)
    return with_settled(ended, uid)


def after_passing_over(progress: Progress, chunk: Chunk, identity: Identity, now: datetime) -> Progress:
    """Mails too old for a scan are skipped and stay as they are."""
    endings = {mail.uid: Ending.SKIPPED for mail in chunk.passed_over}
    return with_settled(after_chunk(progress, chunk.last_uid, endings, identity, now), chunk.last_uid)


@dataclass(frozen=True, slots=True)
class Suspect:
    """Where fetching, storing or producing has failed: which mail, how often in a row, and up to where mails are taken one by one."""

    uid: int
    failures: int
    alone_until_uid: int

    @property
    def is_poison(self) -> bool:
        """Whether to give the mail up, so that the mailbox moves on."""
        return self.failures >= FAILURES_MAX


def suspect_after(suspect: Suspect | None, first_uid: int, last_uid: int) -> Suspect:
    """Count a failure of a chunk; one mail alone is to blame, of several any may be, so that they are tried one by one."""
    if first_uid < last_uid:
        return Suspect(first_uid, 0, last_uid)
    alone_until = max(last_uid, suspect.alone_until_uid if suspect else 0)
    failures = suspect.failures if suspect and suspect.uid == first_uid else 0
    return Suspect(first_uid, failures + 1, alone_until)


def under_suspicion(suspect: Suspect | None, listed: Sequence[ListedMail]) -> Sequence[ListedMail]:
    """The first mail alone while one of a failed chunk is still to come, else all."""
    return listed[:1] if suspect and listed and listed[0].uid <= suspect.alone_until_uid else listed
