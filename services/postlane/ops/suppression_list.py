"""The suppression list as mail.control holds it: who must not be mailed, why, and until when."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from sys import intern

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.events.command import RECIPIENT, Command, Wish, command_key, partition_for_all
from postlane.ops.output import Json, iso, moment_text, shortened
from postlane.ops.scanning import Step, bounds_of, scan
from postlane.ports import EventLog, LogRecord, TopicPartition

COLUMNS = ("address", "cause", "since", "until", "by", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One address on the list; `until` None: until somebody takes it off."""

    address: str
    cause: str
    reason: str
    by: str
    since: datetime
    until: datetime | None

    def holds(self, now: datetime) -> bool:
        """Whether its time is not over."""
        return self.until is None or now < self.until


def read_entries(
    log: EventLog,
    codec: Codec,
    topic: str,
    addresses: Collection[str] | None = None,
    step: Step | None = None,
) -> dict[str, Entry]:
    """The list by address, also what is over; `addresses` (as `mailbox_key` spells them) reads no others. Raises LogUnavailable."""
    count = log.partition_count(topic)
    partitions = set(range(count))
    keys: frozenset[bytes] | None = None
    if addresses is not None:
        keys = frozenset(f"{RECIPIENT}{address}".encode() for address in addresses)
        partitions = {partition_for_all(key, count) for key in keys}
    entries: dict[str, Entry] = {}

    def wanted(key: bytes | None, _value: bytes | None) -> bool:
        if key is None:
            return False
        return key.startswith(RECIPIENT.encode()) if keys is None else key in keys

    def fold(record: LogRecord) -> None:
        """A key lies in one partition, so the threads that read them do not meet at an address."""
        address = (record.key or b"").decode("utf-8", "replace").removeprefix(RECIPIENT)
        if record.value is None:
            entries.pop(address, None)
            return
        try:
            command = codec.decode(Command, record.value)
        except Undecodable:
            return  # the senders pass it over, too, and report it
        if command_key(command) != record.key:
            return
        if command.wish is Wish.SUPPRESS_RECIPIENT:
            entries[address] = _entry(address, command)
        elif command.wish is Wish.ALLOW_RECIPIENT:
            entries.pop(address, None)

    places = [TopicPartition(topic, partition) for partition in sorted(partitions)]
    scan(log, bounds_of(log, places), fold, step, wanted)
    return entries


def entry_row(entry: Entry) -> tuple[str, ...]:
    """A row of `suppression list`."""
    since, until = moment_text(entry.since), moment_text(entry.until)
    return (entry.address, entry.cause, since, until, entry.by, shortened(entry.reason))


def entry_json(entry: Entry) -> Json:
    """An entry; the keys are stable."""
    return {
        "address": entry.address,
        "cause": entry.cause,
        "since": iso(entry.since),
        "until": iso(entry.until),
        "by": entry.by,
        "reason": entry.reason,
    }


def entry_words(entry: Entry) -> str:
    """Why and until when, in a sentence."""
    end = "until it is removed" if entry.until is None else f"until {moment_text(entry.until)}"
    return f"({entry.cause}) by {entry.by} since {moment_text(entry.since)}, {end}"


def _entry(address: str, command: Command) -> Entry:
    return Entry(
        address=address,
        cause=intern(command.cause or "unnamed"),
        reason=intern(command.reason),
        by=intern(command.issued_by),
        since=command.issued_at,
        until=command.expires_at,
    )
