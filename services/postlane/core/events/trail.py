"""The `x-postlane-*` record headers: what a copy of a request in the journal or a dead-letter topic says about itself.

All values are UTF-8 text, so that any Kafka tool can show them; the record's value stays the original bytes, untouched.

kind       topic       value       headers besides the origin
put        retry       original    attempt, first-seen, due, remaining?, held, topic-rank, cause, reason, retried-by?, route?, replay?
done       retry       none
dead       dlq         original    attempt, first-seen, died, remaining?, cause, reason, reply?
resolved   dlq         none        resolves, resolution, resolved-at, reason?
replay     outbound    original    replay-of, remaining?
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from sys import intern
from typing import assert_never

from postlane.core.events.mail import BlobRef
from postlane.core.events.status import Origin

Headers = tuple[tuple[str, bytes], ...]

PREFIX = "x-postlane-"
TEXT_MAX = 2000  # a reason or reply is for reading; longer ones would let copies outgrow their topic
DIGITS_MAX = 18  # fits 64 bits; longer ones are not ours and cost time to read
TIME_MS_MAX = 253_402_300_799_999  # the last millisecond of the year 9999


class Kind(StrEnum):
    """What a record of the retry or dead-letter topic is."""

    PUT = "put"
    DONE = "done"
    DEAD = "dead"
    RESOLVED = "resolved"


class Resolution(StrEnum):
    """How an operator ended a dead mail."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"


class BadTrail(ValueError):
    """The headers of a journal or dead-letter record cannot be read; the text names the header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A parked mail: when it is due and what is left to do. `remaining` None = all recipients; `held` > 0 = the n-th hold.

    `topic_rank` orders topics that followed each other under one name: mail of a lower rank was requested earlier. `retried_by` is the id of
    the last command to try it again that was obeyed, `route` the way that it was to take (core.routing.routes), `replay` whether an operator had it sent again.
    """

    origin: Origin
    attempt: int
    first_seen_ms: int
    due_ms: int
    remaining: tuple[str, ...] | None
    held: int
    cause: str
    reason: str
    topic_rank: int = 0
    retried_by: str | None = None
    route: str | None = None
    replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The parked mail of this origin has ended."""

    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """Why a mail died, for people. `origin_topic` and `partition` say where its request stood."""

    origin: Origin
    origin_topic: str
    partition: int
    attempt: int
    first_seen_ms: int
    died_ms: int
    remaining: tuple[str, ...] | None
    cause: str
    reason: str
    reply: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An operator has replayed or discarded the dead mail at `dead_offset` of this partition."""

    dead_offset: int
    resolution: Resolution
    resolved_at_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReplayOf:
    """Which dead-letter record a request on the main topic repeats."""

    partition: int
    offset: int


Entry = Put | Done | Dead | Resolved


def encode(entry: Entry) -> Headers:
    """The headers of a journal or dead-letter record."""
    match entry:
        case Put():
            fields = _origin_fields(entry.origin) | {
                "kind": Kind.PUT.value,
                "attempt": str(entry.attempt),
                "first-seen": str(entry.first_seen_ms),
                "due": str(entry.due_ms),
                "held": str(entry.held),
                "topic-rank": str(entry.topic_rank),
                "cause": entry.cause,
                "reason": entry.reason,
            }
            replay = "1" if entry.replay else None
            optional = {"retried-by": entry.retried_by, "route": entry.route, "replay": replay}
            named = {name: value for name, value in optional.items() if value is not None}
            return _headers(fields | _remaining_fields(entry.remaining) | named)
        case Done():
            return _headers({"kind": Kind.DONE.value} | _origin_fields(entry.origin))
        case Dead():
            fields = _origin_fields(entry.origin) | {
                "kind": Kind.DEAD.value,
                "topic": entry.origin_topic,
                "partition": str(entry.partition),
                "attempt": str(entry.attempt),
                "first-seen": str(entry.first_seen_ms),
                "died": str(entry.died_ms),
                "cause": entry.cause,
                "reason": entry.reason,
            }
            reply = {} if entry.reply is None else {"reply": entry.reply}
            return _headers(fields | _remaining_fields(entry.remaining) | reply)
        case Resolved():
            return _headers(
                {
                    "kind": Kind.RESOLVED.value,
                    "resolves": str(entry.dead_offset),
                    "resolution": entry.resolution.value,
                    "resolved-at": str(entry.resolved_at_ms),
                    "reason": entry.reason,
                }
            )
        case _:
            assert_never(entry)


def decode(headers: Iterable[tuple[str, bytes]]) -> Entry:
    """Read a journal or dead-letter record's headers. Raises BadTrail."""
    fields = _Fields(headers)
    name = fields.text("kind")
    try:
        kind = Kind(name)
    except ValueError:
        raise BadTrail(f"header {PREFIX}kind: {name!r} is no known kind") from None
    match kind:
        case Kind.PUT:
            return Put(
                origin=fields.origin(),
                attempt=fields.number("attempt"),
                first_seen_ms=fields.time_ms("first-seen"),
                due_ms=fields.time_ms("due"),
                remaining=fields.remaining(),
                held=fields.number("held"),
                cause=fields.token("cause"),
                reason=fields.text("reason"),
                topic_rank=0 if fields.optional("topic-rank") is None else fields.number("topic-rank"),
                retried_by=fields.optional("retried-by"),
                route=None if fields.optional("route") is None else fields.token("route"),
                replay=fields.optional("replay") is not None,
            )
        case Kind.DONE:
            return Done(origin=fields.origin())
        case Kind.DEAD:
            return Dead(
                origin=fields.origin(),
                origin_topic=fields.text("topic"),
                partition=fields.number("partition"),
                attempt=fields.number("attempt"),
                first_seen_ms=fields.time_ms("first-seen"),
                died_ms=fields.time_ms("died"),
                remaining=fields.remaining(),
                cause=fields.text("cause"),
                reason=fields.text("reason"),
                reply=fields.optional("reply"),
            )
        case Kind.RESOLVED:
            return Resolved(
                dead_offset=fields.number("resolves"),
                resolution=fields.resolution(),
                resolved_at_ms=fields.time_ms("resolved-at"),
                reason=fields.text("reason"),
            )
        case _:
            assert_never(kind)


def encode_replay(source: ReplayOf, remaining: tuple[str, ...] | None) -> Headers:
    """The headers that a replayed request carries on the main topic, beside its original ones."""
    return _headers({"replay-of": f"{source.partition}:{source.offset}"} | _remaining_fields(remaining))


def decode_replay(headers: Iterable[tuple[str, bytes]]) -> tuple[ReplayOf | None, tuple[str, ...] | None]:
    """Which dead mail this request repeats, if any, and for whom (None = all recipients). Raises BadTrail."""
    fields = _Fields(headers)
    value = fields.optional("replay-of")
    if value is None:
        return None, None
    partition, _, offset = value.partition(":")
    if not (_is_number(partition) and _is_number(offset)):
        raise BadTrail(f"header {PREFIX}replay-of: {value[:40]!r} is not PARTITION:OFFSET")
    return ReplayOf(int(partition), int(offset)), fields.remaining()


def encode_claim(blob: BlobRef) -> Headers:
    """The header of a copy whose value was too large for its topic and lies in the blob store; the record's value is then empty."""
    return _headers({"value-blob": f"{blob.sha256}:{blob.size_bytes}"})


def decode_claim(headers: Iterable[tuple[str, bytes]]) -> BlobRef | None:
    """Where the value of this copy lies, if not in the record itself. Raises BadTrail."""
    value = _Fields(headers).optional("value-blob")
    if value is None:
        return None
    sha256, _, size = value.partition(":")
    if len(sha256) != 64 or not _is_number(size):
        raise BadTrail(f"header {PREFIX}value-blob: {value[:80]!r} is not SHA256:SIZE")
    return BlobRef(sha256=sha256, size_bytes=int(size))


def without_trail(headers: Iterable[tuple[str, bytes]]) -> Headers:
    """The headers that the producer of the request set itself."""
    return tuple((name, value) for name, value in headers if not name.startswith(PREFIX))


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) <= DIGITS_MAX


def _origin_fields(origin: Origin) -> dict[str, str]:
    return {"topic-id": origin.topic_id, "offset": str(origin.offset)}


def _remaining_fields(remaining: tuple[str, ...] | None) -> dict[str, str]:
    return {} if remaining is None else {"remaining": json.dumps(remaining, ensure_ascii=False)}


def _headers(fields: Mapping[str, str]) -> Headers:
    return tuple(
        (PREFIX + name, (value if name == "remaining" else value[:TEXT_MAX]).encode("utf-8", "replace"))
        for name, value in fields.items()
    )


class _Fields:
    """The `x-postlane-*` headers by short name; the last one of a name counts."""

    def __init__(self, headers: Iterable[tuple[str, bytes]]) -> None:
        self._values = dict(headers)

    def optional(self, name: str) -> str | None:
        value = self._values.get(PREFIX + name)
        return None if value is None else value.decode("utf-8", "replace")

    def text(self, name: str) -> str:
        value = self.optional(name)
        if value is None:
            raise BadTrail(f"header {PREFIX}{name} is missing")
        return value

    def number(self, name: str) -> int:
        digits = self._values.get(PREFIX + name, b"")
        if digits.isdigit() and len(digits) <= DIGITS_MAX:  # a new owner reads hundreds of thousands of these
            return int(digits)
        value = self.text(name)
        raise BadTrail(
            f"header {PREFIX}{name}: {value[:40]!r} is not a number of at most {DIGITS_MAX} digits"
        )

    def time_ms(self, name: str) -> int:
        value = self.number(name)
        if value > TIME_MS_MAX:
            raise BadTrail(f"header {PREFIX}{name}: {value} is not a time in milliseconds since 1970")
        return value

    def resolution(self) -> Resolution:
        value = self.text("resolution")
        try:
            return Resolution(value)
        except ValueError:
            raise BadTrail(f"header {PREFIX}resolution: {value!r} is no known resolution") from None

    def origin(self) -> Origin:
        return Origin(self.token("topic-id"), self.number("offset"))

    def token(self, name: str) -> str:
        """A text that many records share: kept once."""
        return intern(self.text(name))

    def remaining(self) -> tuple[str, ...] | None:
        value = self.optional("remaining")
        if value is None:
            return None
        try:
            addresses = json.loads(value)
        except (ValueError, RecursionError):  # whatever somebody else has written there
            addresses = None
        if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
            raise BadTrail(f"header {PREFIX}remaining is not a JSON list of addresses")
        return tuple(addresses)
