"""What a record on `mail.inbound.dlq` says about a mail that could not become an event; the sibling of core.events.trail's `Dead`.

The mail itself stays where it lies in its folder. The record's value is the raw mail where it was fetched and is small enough; `raw` names it
in the blob store where it got that far.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from postlane.core.events.mail import BlobRef
from postlane.core.events.trail import PREFIX, TEXT_MAX, Headers

KIND = "quarantined"
RAW_BYTES_MAX = 512 * 1024  # of the record's value; brokers take about 1 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Which mail was given up, when, after how many failures, and why. `cause` is a token for programs."""

    mailbox: str
    folder: str
    uid_validity: int
    uid: int
    failures: int
    died_ms: int
    cause: str
    reason: str
    raw: BlobRef | None = None


class BadQuarantine(ValueError):
    """The headers of a record on `mail.inbound.dlq` cannot be read; the text names the header."""


def encode_quarantine(entry: Quarantined) -> Headers:
    """The record's `x-postlane-*` headers, UTF-8."""
    fields = {
        "kind": KIND,
        "mailbox": entry.mailbox,
        "folder": entry.folder,
        "uid-validity": str(entry.uid_validity),
        "uid": str(entry.uid),
        "failures": str(entry.failures),
        "died": str(entry.died_ms),
        "cause": entry.cause,
        "reason": entry.reason,
    }
    if entry.raw is not None:
        fields |= {"raw-sha256": entry.raw.sha256, "raw-size": str(entry.raw.size_bytes)}
    return tuple(
        (PREFIX + name, value[:TEXT_MAX].encode("utf-8", "replace")) for name, value in fields.items()
    )


def decode_quarantine(headers: Iterable[tuple[str, bytes]]) -> Quarantined:
    """Read them back. Raises BadQuarantine."""
    fields = {
        name.removeprefix(PREFIX): value.decode("utf-8", "replace")
        for name, value in headers
        if name.startswith(PREFIX)
    }

    def text(name: str) -> str:
        if name not in fields:
            raise BadQuarantine(f"header {PREFIX}{name} is missing")
        return fields[name]

    def number(name: str) -> int:
        if not text(name).isdecimal():
            raise BadQuarantine(f"header {PREFIX}{name}: {text(name)!r} is not a number")
        return int(text(name))

    if text("kind") != KIND:
        raise BadQuarantine(f"header {PREFIX}kind: {text('kind')!r} is not {KIND!r}")
    raw = (
        BlobRef(sha256=text("raw-sha256"), size_bytes=number("raw-size")) if "raw-sha256" in fields else None
    )
    return Quarantined(
        mailbox=text("mailbox"),
        folder=text("folder"),
        uid_validity=number("uid-validity"),
        uid=number("uid"),
        failures=number("failures"),
        died_ms=number("died"),
        cause=text("cause"),
        reason=text("reason"),
        raw=raw,
    )
