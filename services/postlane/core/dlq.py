"""Dead mail and what operators do about it: which is open, which is meant, and what is written in which order.

A dead-letter partition holds `dead` records (a mail and why it died) and `resolved` records (an operator's answer to
one of them, by offset). A dead mail is open while nothing resolves it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby

from postlane.core.events.trail import (
    BadTrail,
    Dead,
    Headers,
    ReplayOf,
    Resolution,
    Resolved,
    decode,
    encode,
    encode_replay,
    without_trail,
)

BATCH_MAILS_MAX = 200  # mails in one transaction: enough to be fast, and few to repeat when it aborts
BATCH_BYTES_MAX = 8 * 2**20  # their bytes are in memory at once


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a record stands in the dead-letter topic; people write it as PARTITION:OFFSET."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DlqRecord:
    """A record of the dead-letter topic without its value, which may be large and is read back when it is needed."""

    place: Place
    key: bytes | None
    size_bytes: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The record's headers are not ours; it can be shown and discarded, but not replayed."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadMail:
    """One dead mail with everything that operators did about it, oldest first. `headers` are the producer's own."""

    place: Place
    key: bytes | None
    size_bytes: int
    headers: Headers
    obituary: Dead | Unreadable
    resolutions: tuple[Resolved, ...] = ()

    @property
    def open(self) -> bool:
        """Whether nobody has dealt with it."""
        return not self.resolutions

    @property
    def ticket_id(self) -> str | None:
        """The ticket, as the record's key names it."""
        return None if self.key is None else self.key.decode("utf-8", "replace")


def fold(records: Iterable[DlqRecord]) -> list[DeadMail]:
    """The dead mails of these records, with their resolutions; a resolution of a mail that is gone is dropped."""
    dead: dict[Place, DeadMail] = {}
    resolutions: dict[Place, list[Resolved]] = {}
    for record in records:
        obituary = _read(record.headers)
        if isinstance(obituary, Resolved):
            place = Place(record.place.partition, obituary.dead_offset)
            resolutions.setdefault(place, []).append(obituary)
            continue
        dead[record.place] = DeadMail(
            place=record.place,
            key=record.key,
            size_bytes=record.size_bytes,
            headers=without_trail(record.headers),
            obituary=obituary,
        )
    return [replace(mail, resolutions=tuple(resolutions.get(place, ()))) for place, mail in dead.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead mails are meant; what is left empty does not restrict.

    `reason` is a part of the reason or of the relay's reply, in any case of letters; the times bound the death.
    """

    tickets: frozenset[str] = frozenset()
    causes: frozenset[str] = frozenset()
    reason: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    places: frozenset[Place] = frozenset()

    def holds(self, mail: DeadMail) -> bool:
        """Whether this mail is meant. An unreadable record can be meant by its place or its key only."""
        if self.places and mail.place not in self.places:
            return False
        if self.tickets and mail.ticket_id not in self.tickets:
            return False
        if isinstance(mail.obituary, Unreadable):
            return not (self.causes or self.reason or self.since_ms is not None or self.until_ms is not None)
        return self._holds_obituary(mail.obituary)

    def _holds_obituary(self, dead: Dead) -> bool:
        words = f"{dead.reason}\n{dead.reply or ''}".casefold()
        return (
            (not self.causes or dead.cause in self.causes)
            and self.reason.casefold() in words
            and (self.since_ms is None or dead.died_ms >= self.since_ms)
            and (self.until_ms is None or dead.died_ms < self.until_ms)
        )


def unknown_causes(selection: Selection, known: frozenset[str], dead: Iterable[DeadMail]) -> list[str]:
    """The selected causes that can select nothing: no version of ours writes them, and no dead mail bears them."""
    borne = {mail.obituary.cause for mail in dead if isinstance(mail.obituary, Dead)}
    return sorted(selection.causes - known - borne)


class LeftOut(StrEnum):
    """Why a mail that was meant is not touched."""

    RESOLVED = "already resolved; --again repeats it"
    CLOSED = "already resolved"
    UNREADABLE = "its headers cannot be read; it can be discarded only"
    KEYLESS = "it has no key, so no ticket orders it; send it anew or discard it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a command will do: `mails` in the order of writing, those of one ticket together and by origin.

    `added` are places that the selection did not name: open mail of the same tickets, taken along so that no ticket's
    mails overtake each other.
    """

    mails: tuple[DeadMail, ...] = ()
    added: frozenset[Place] = frozenset()
    left_out: tuple[tuple[DeadMail, LeftOut], ...] = ()


def plan_replay(dead: Iterable[DeadMail], selection: Selection, *, again: bool, alone: bool = False) -> Plan:
    """Plan to send the selected mails again, with all open mail of their tickets unless `alone`."""
    dead = list(dead)
    meant = [mail for mail in dead if selection.holds(mail)]
    left_out = {
        mail.place: (mail, why) for mail in meant if (why := _obstacle(mail, again=again)) is not None
    }
    chosen = {mail.place: mail for mail in meant if mail.place not in left_out}
    tickets = {mail.key for mail in chosen.values()}
    added = {
        mail.place: mail
        for mail in dead
        if not alone
        and mail.key in tickets
        and mail.place not in chosen
        and _obstacle(mail, again=False) is None
    }
    return Plan(mails=_in_order(chosen | added), added=frozenset(added), left_out=tuple(left_out.values()))


def plan_discard(dead: Iterable[DeadMail], selection: Selection) -> Plan:
    """Plan to close exactly the selected mails without sending them; what is resolved already stays as it is."""
    meant = [mail for mail in dead if selection.holds(mail)]
    return Plan(
        mails=_in_order({mail.place: mail for mail in meant if mail.open}),
        left_out=tuple((mail, LeftOut.CLOSED) for mail in meant if not mail.open),
    )


def batches(
    mails: Iterable[DeadMail], mails_max: int = BATCH_MAILS_MAX, bytes_max: int = BATCH_BYTES_MAX
) -> Iterator[tuple[DeadMail, ...]]:
    """Cut a plan into transactions: whole tickets, several small ones together, a huge one in several in its order."""
    batch: list[DeadMail] = []
    for _, ticket in groupby(mails, key=lambda mail: mail.key):
        for part in _cut(list(ticket), mails_max, bytes_max):
            if batch and not _fits([*batch, *part], mails_max, bytes_max):
                yield tuple(batch)
                batch = []
            batch += part
    if batch:
        yield tuple(batch)


def replay_headers(mail: DeadMail) -> Headers:
    """The headers of the request when it goes to the main topic again, for the recipients that are still to be served."""
    assert isinstance(mail.obituary, Dead), "a plan leaves unreadable records out"
    source = ReplayOf(mail.place.partition, mail.place.offset)
    return (*mail.headers, *encode_replay(source, mail.obituary.remaining))


def resolution_headers(mail: DeadMail, resolution: Resolution, at_ms: int, reason: str) -> Headers:
    """The headers of the record that closes a dead mail, in the same partition."""
    return encode(
        Resolved(dead_offset=mail.place.offset, resolution=resolution, resolved_at_ms=at_ms, reason=reason)
    )


def _read(headers: Headers) -> Dead | Resolved | Unreadable:
    try:
        entry = decode(headers)
    except (BadTrail, ValueError) as error:
        return Unreadable(str(error))
    if isinstance(entry, Dead | Resolved):
        return entry
    return Unreadable(f"a {type(entry).__name__.lower()} record belongs into the retry topic")


def _obstacle(mail: DeadMail, *, again: bool) -> LeftOut | None:
    if isinstance(mail.obituary, Unreadable):
        return LeftOut.UNREADABLE
    if mail.key is None:
        return LeftOut.KEYLESS
    return None if mail.open or again else LeftOut.RESOLVED


def _in_order(mails: dict[Place, DeadMail]) -> tuple[DeadMail, ...]:
    # A recreated topic starts its offsets again: its mails come after those of the topic before it.
    topic_since: dict[str, int] = {}
    for mail in mails.values():
        if isinstance(mail.obituary, Dead):
            topic_id, seen_ms = mail.obituary.origin.topic_id, mail.obituary.first_seen_ms
            topic_since[topic_id] = min(topic_since.get(topic_id, seen_ms), seen_ms)

    def rank(mail: DeadMail) -> tuple[int, int, Place]:
        if isinstance(mail.obituary, Unreadable):
            return (0, 0, mail.place)
        origin = mail.obituary.origin
        return (topic_since[origin.topic_id], origin.offset, mail.place)

    by_ticket: dict[bytes | None, list[DeadMail]] = {}
    for mail in sorted(mails.values(), key=rank):
        by_ticket.setdefault(mail.key, []).append(mail)
    return tuple(mail for ticket in by_ticket.values() for mail in ticket)


def _cut(ticket: list[DeadMail], mails_max: int, bytes_max: int) -> Iterator[list[DeadMail]]:
    part: list[DeadMail] = []
    for mail in ticket:
        if part and not _fits([*part, mail], mails_max, bytes_max):
            yield part
            part = []
        part.append(mail)
    yield part


def _fits(mails: list[DeadMail], mails_max: int, bytes_max: int) -> bool:
    return len(mails) <= mails_max and sum(mail.size_bytes for mail in mails) <= bytes_max
