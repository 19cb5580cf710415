"""The field groups of machine-readable reports: RFC 3464 section 2.1 (delivery), RFC 5965 section 3 (feedback), RFC 8098 section 3 (disposition).

Groups are separated by blank lines, long fields are folded. Senders write fields without groups, blank lines between every two fields, and
text in between; what is no field is passed over.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from postlane.core.events.mail import Address
from postlane.core.reading.mime_addresses import parse_addresses

FIELDS_MAX = 2000  # a report names a handful of recipients
VALUE_CHARACTERS_MAX = 2000

_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]{1,60})[ \t]*:[ \t]*(.*)")
_TYPED = re.compile(r"^\s*[A-Za-z0-9-]{1,20}\s*;\s*")  # rfc822; utf-8; dns; smtp;
# One recipient's group begins with one of these, whatever the blank lines say.
_BEGINS_RECIPIENT = frozenset({"original-recipient", "final-recipient"})


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """The fields of one group in order, names in lower case."""

    fields: tuple[tuple[str, str], ...]

    def first(self, name: str) -> str | None:
        """The first value of a field, None where it is absent or empty."""
        return next((value for key, value in self.fields if key == name and value), None)

    def all(self, name: str) -> tuple[str, ...]:
        """All values of a field."""
        return tuple(value for key, value in self.fields if key == name and value)


def read_groups(text: str) -> tuple[FieldGroup, ...]:
    """Cut a report into its groups."""
    groups: list[list[tuple[str, str]]] = [[]]
    count = 0
    for line in text.splitlines():
        if not line.strip():
            if groups[-1]:
                groups.append([])
        elif line[0] in " \t" and groups[-1]:
            name, value = groups[-1][-1]
            groups[-1][-1] = (name, f"{value} {line.strip()}".strip()[:VALUE_CHARACTERS_MAX])
        elif (found := _FIELD.match(line)) and count < FIELDS_MAX:
            count += 1
            groups[-1].append((found[1].lower(), found[2].strip()[:VALUE_CHARACTERS_MAX]))
    return tuple(FieldGroup(tuple(group)) for group in groups if group)


def recipient_groups(groups: Iterable[FieldGroup]) -> tuple[FieldGroup, ...]:
    """One group per recipient: joined where blank lines cut one in two, cut where two stand together."""
    found: list[list[tuple[str, str]]] = []
    for name, value in (field for group in groups for field in group.fields):
        if _begins_recipient(name, {key for key, _ in found[-1]} if found else None):
            found.append([])
        if found:
            found[-1].append((name, value))
    return tuple(FieldGroup(tuple(group)) for group in found)


def _begins_recipient(name: str, before: set[str] | None) -> bool:
    """Whether a field opens the next recipient's group; `before` are the names in the group so far, None where there is none yet."""
    if before is None:
        return name in _BEGINS_RECIPIENT or name == "action"
    if name == "original-recipient":
        return name in before or {"final-recipient", "action"} <= before
    return name == "final-recipient" and name in before


def untyped(value: str | None) -> str | None:
    """A value without its type: `dns; mx.example` is `mx.example`."""
    stripped = None if value is None else _TYPED.sub("", value).strip()
    return stripped or None


def address_of(value: str | None) -> str | None:
    """The mail address in a recipient field such as `rfc822; <ann@example.org>`; None where there is none (X.400 names, say)."""
    text = untyped(value)
    if text is None:
        return None
    found: tuple[Address, ...] = parse_addresses(text.encode())
    return next((one.address for one in found if "@" in one.address), None)
