"""Whether all senders of a relay have the same configuration of it: marks of its keys travel with each request, never their values.

Who has another configuration counts otherwise than the allocator grants: he gets nothing, or more than the relay takes.
"""

from collections.abc import Mapping
from hashlib import sha256

from postlane.core.sharing.allocator import Entry

HEADER = "x-postlane-relay-section"
MARK_CHARACTERS = 8
SENDERS_MAX = 100  # far over any fleet


def marks_of(section: Mapping[str, object]) -> dict[str, str]:
    """A short mark of each key's value."""
    return {key: sha256(repr(value).encode()).hexdigest()[:MARK_CHARACTERS] for key, value in section.items()}


def encode_marks(marks: Mapping[str, str]) -> bytes:
    """For the header."""
    return ";".join(f"{key}={mark}" for key, mark in sorted(marks.items())).encode()


def decode_marks(header: bytes) -> dict[str, str]:
    """From the header; what is none says nothing."""
    pairs = (part.partition("=") for part in header.decode("ascii", "replace").split(";"))
    return {key: mark for key, equals, mark in pairs if equals}


class SectionsSeen:
    """What other senders have said lately, in comparison with `own`; `now` is a steady clock."""

    def __init__(self, own: Mapping[str, str], remembered_seconds: float) -> None:
        self._own = dict(own)
        self._remembered_seconds = remembered_seconds
        self._others: dict[str, tuple[float, tuple[str, ...]]] = {}

    def hear_entry(self, entry: Entry, now: float) -> None:
        """A committed record of the relay."""
        request, sender = entry.lease.request, entry.lease.written_by
        if request is None:
            return
        if request.leaving:
            self._others.pop(sender, None)
        else:
            self.hear(sender, entry.marks, now)

    def hear(self, sender: str, marks: Mapping[str, str], now: float) -> None:
        """A request of this sender; one without marks is of an older Postlane. Keys that only one of them knows are no difference."""
        keys = tuple(sorted(key for key in marks.keys() & self._own.keys() if marks[key] != self._own[key]))
        self._others.pop(sender, None)
        if keys and len(self._others) < SENDERS_MAX:
            self._others[sender] = now, keys

    def words(self, now: float) -> str:
        """Who differs, and in which keys; empty where nobody does."""
        self._others = {
            sender: said for sender, said in self._others.items() if said[0] + self._remembered_seconds > now
        }
        return "; ".join(
            f"{sender} in {', '.join(keys)}" for sender, (_, keys) in sorted(self._others.items())
        )
