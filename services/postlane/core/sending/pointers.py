"""The pointers that travel in the commit metadata of `mail.outbound`, from which a new owner recovers."""

from dataclasses import dataclass

_VERSION = "1"


class BadPointers(ValueError):
    """Commit metadata that is not ours, such as a reset tool's or another program's; recovery rebuilds instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointers:
    """Where recovery starts to read, written with every commit of main partition p.

    `topic_id` is the main topic's; `status_from` the lowest status offset that proves an origin at or above the
    committed offset done; `retry_from` the lowest live `put` of the journal.
    """

    topic_id: str
    status_from: int
    retry_from: int


def encode_pointers(pointers: Pointers) -> str:
    """A few dozen bytes: far below the broker's 4096 (offset.metadata.max.bytes)."""
    return f"{_VERSION};{pointers.topic_id};{pointers.status_from};{pointers.retry_from}"


def decode_pointers(metadata: str) -> Pointers:
    """Read commit metadata. Raises BadPointers."""
    parts = metadata.split(";")
    if (
        len(parts) != 4
        or parts[0] != _VERSION
        or not parts[1]
        or not (parts[2].isdecimal() and parts[3].isdecimal())
    ):
        raise BadPointers(f"commit metadata {metadata[:80]!r} does not hold Postlane's pointers")
    return Pointers(topic_id=parts[1], status_from=int(parts[2]), retry_from=int(parts[3]))
