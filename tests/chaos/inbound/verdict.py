"""Judges a run: what was delivered into the mailboxes, against what Kafka, the blob store and the mailboxes hold at its end.

lost         a delivered mail without an event, or whose raw bytes cannot be read under the name that its event gives
duplicates   every event beyond the first for the same raw bytes
faults       everything else that must not be: an event for what nobody delivered, books that do not balance, mail that vanished from its
             mailbox or was left unsettled, events out of order, a mail that was not read although nothing is wrong with it
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.inbound.mailboxes import MAILBOXES
from chaos.inbound.workload import Letter
from postlane.core.events.received import MailboxCursor, ParseStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a consumer of `mail.inbound` sees of one mail."""

    partition: int
    offset: int
    mailbox: str
    folder: str
    uid_validity: int
    uid: int
    digest: str
    parse_status: ParseStatus


@dataclass(slots=True, kw_only=True)
class Findings:
    """At the end: `kept` are the hashes in all folders of a mailbox, `inbox` those in the polled one; `removed` by the other client."""

    events: Sequence[Event]
    unreadable: Collection[str] = ()
    cursors: Sequence[MailboxCursor] = ()
    kept: Mapping[str, Collection[str]] = field(default_factory=dict)
    unsettled: Sequence[str] = ()
    removed: Collection[str] = ()
    open_transactions: Sequence[str] = ()


@dataclass(slots=True)
class Verdict:
    """Each list holds one line per violation."""

    lost: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """Everything that breaks a promise."""
        return [
            *(f"lost: {line}" for line in self.lost),
            *(f"duplicate: {line}" for line in self.duplicates),
            *(f"fault: {line}" for line in self.faults),
        ]


def judge(delivered: Sequence[Letter], findings: Findings) -> Verdict:
    """Compare what was delivered with what was found."""
    letters = {letter.digest: letter for letter in delivered}
    counted = Counter(event.digest for event in findings.events)
    verdict = Verdict()
    verdict.lost += [
        f"mail {letter.number} of {letter.mailbox} has no event"
        for digest, letter in letters.items()
        if not counted[digest]
    ]
    verdict.lost += [f"the raw bytes {digest} of an event cannot be read" for digest in findings.unreadable]
    verdict.duplicates += _duplicates(letters, findings.events)
    verdict.faults += _strange(letters, findings.events)
    verdict.faults += _unread(letters, findings.events)
    verdict.faults += _out_of_order(findings.events)
    verdict.faults += _unbalanced(findings)
    verdict.faults += _vanished(delivered, findings)
    verdict.faults += findings.unsettled
    verdict.faults += [f"open transaction: {line}" for line in findings.open_transactions]
    return verdict


def _duplicates(letters: Mapping[str, Letter], events: Sequence[Event]) -> Iterator[str]:
    first: dict[str, Event] = {}
    for event in events:
        if event.digest in first:
            before = first[event.digest]
            number = letters[event.digest].number if event.digest in letters else "?"
            yield f"mail {number} has an event as {_told(before)}, and as {_told(event)}"
        first.setdefault(event.digest, event)


def _strange(letters: Mapping[str, Letter], events: Sequence[Event]) -> Iterator[str]:
    for event in events:
        letter = letters.get(event.digest)
        if letter is None:
            yield f"{_told(event)} is a mail that nobody delivered"
        elif (letter.mailbox, letter.folder) != (event.mailbox, event.folder):
            yield f"{_told(event)} was delivered to {letter.mailbox}/{letter.folder}"


def _unread(letters: Mapping[str, Letter], events: Sequence[Event]) -> Iterator[str]:
    for event in events:
        letter = letters.get(event.digest)
        headers_only = letter is not None and letter.oversize
        if (
            event.parse_status is ParseStatus.FAILED
            or (event.parse_status is ParseStatus.HEADERS_ONLY) != headers_only
        ):
            yield f"{_told(event)} has {event.parse_status}"


def _out_of_order(events: Sequence[Event]) -> Iterator[str]:
    """In a partition, a folder's events come by UID."""
    latest: dict[tuple[int, str, str, int], Event] = {}
    for event in sorted(events, key=lambda event: event.offset):
        place = event.partition, event.mailbox, event.folder, event.uid_validity
        before = latest.get(place)
        if before is not None and before.uid >= event.uid:
            yield f"{_told(event)} comes after {_told(before)}"
        latest[place] = event


def _unbalanced(findings: Findings) -> Iterator[str]:
    """The sums of every folder's cursor, and what it says it produced, against the events."""
    produced = Counter((event.mailbox, event.folder) for event in findings.events)
    for cursor in findings.cursors:
        name = f"{cursor.mailbox}/{cursor.folder}"
        ended = cursor.produced + cursor.quarantined + cursor.skipped
        if cursor.listed != ended:
            yield f"{name}: {cursor.listed} listed, but {ended} ended"
        if cursor.quarantined:
            yield f"{name}: {cursor.quarantined} in quarantine, but nothing was wrong with them"
        events = produced[cursor.mailbox, cursor.folder]
        if cursor.produced != events:
            yield f"{name}: the cursor says {cursor.produced} produced, there are {events} events"


def _vanished(delivered: Sequence[Letter], findings: Findings) -> Iterator[str]:
    """Only `delete` takes mail out of a mailbox, and the other client what it says."""
    missing: defaultdict[str, list[int]] = defaultdict(list)
    for letter in delivered:
        kept = findings.kept.get(letter.mailbox, ())
        if (
            MAILBOXES[letter.mailbox] != "delete"
            and letter.digest not in kept
            and letter.digest not in findings.removed
        ):
            missing[letter.mailbox].append(letter.number)
    for mailbox, numbers in missing.items():
        yield f"{len(numbers)} mails vanished from {mailbox}: {numbers[:20]}"


def _told(event: Event) -> str:
    return f"{event.mailbox}/{event.folder} {event.uid_validity}:{event.uid}"
