"""Signed ticket ids: how a mail of ours says which ticket it belongs to, and how a reply proves it.

mark         example                                              comes back in
Message-ID   <t4711.EVENT.KEYMAC@desk.example>                    In-Reply-To, References
root mark    <t4711.KEYMAC@desk.example>                          References (also when a provider rewrites our Message-ID)
plus tag     support+t4711.KEYMAC@desk.example                    To, Delivered-To
body marker  [ref:t4711.KEYMAC]                                   the quoted body
subject tag  [#4711], [Ticket#4711]                               the subject; not signed
recipient    X-Postlane-Recipient: KEYMAC                          the original in a bounce: to whom alone that mail went
return path  see core.return_paths                                 the address that a bounce is sent to

KEYMAC is the key id (1-8 letters or digits) and 16 characters of base32: HMAC-SHA256 cut to 80 bits (RFC 2104 section 5), over the
kind of mark and all of its text, the domain included. Everything is lower case, ASCII and free of quoting, because some mail systems
fold the case of local parts. The ticket id is written as `t` + plain text where it is lower-case letters, digits and hyphens,
`u` + base32 of a UUID's 16 bytes, else `b` + base32 of its UTF-8. An id too long for a Message-ID stands there as `h` + digest: unique, but
not readable, so such tickets are recognised by the body marker alone.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from postlane.core.mark_text import (
    ID,
    KEY_MAC,
    MAC_CHARS,
    digest_id,
    event_part,
    mac,
    read_id,
    tag_of,
    tagged_address,
    write_id,
)

MESSAGE_ID_MAX = 250  # several mail systems keep Message-IDs in 255-byte columns
DOMAIN_MAX = 150  # leaves room for a digest, event part and signature within MESSAGE_ID_MAX
TICKET_ID_BYTES_MAX = 255  # a body marker then stays well within one line of 998 (RFC 5322 section 2.1.1)
MARKS_PER_TEXT_MAX = 20  # a longer thread quotes the same marks again; hostile text must not make us work
UNSIGNED = "0"  # the key id of marks that are not signed because no key is configured

_KEY_ID = re.compile(r"[a-z0-9]{1,8}")
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_MESSAGE_ID = re.compile(
    rf"<?(?P<signed>{ID}(?:\.[a-z2-7]{{{MAC_CHARS}}})?)\.{KEY_MAC}@(?P<domain>[a-z0-9.-]+)>?"
)
_PROOF = re.compile(KEY_MAC)
_TAG = re.compile(rf"(?P<signed>{ID})\.{KEY_MAC}")
_BODY_MARKER = re.compile(r"\[ref:([tub][a-z0-9-]{0,420}\.[a-z0-9]{17,24})\]", re.ASCII | re.IGNORECASE)
SUBJECT_TAG = re.compile(r"\[[\w .:-]{0,40}#[ ]?([^\s\[\]#]{1,64})\]")


@dataclass(frozen=True, slots=True)
class Mark:
    """A ticket id found in a mail. `verified` = our signature under `key_id` holds; a subject tag has no key."""

    ticket_id: str
    verified: bool
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys by id, and the domain that our Message-IDs end in. Without keys, marks are written but never verify.

    A request is signed by the key with the latest `since` that is not after its `requested_at`; a key without
    `since` counts from the beginning; on a tie `active` wins. So a rotation with `since` leaves the bytes of
    requests made before it unchanged, attempted already or not. Without `since`, changing `active` gives waiting mail
    a new Message-ID. Raises ValueError for keys that cannot be used.
    """

    active: str
    keys: Mapping[str, bytes] = field(repr=False)
    domain: str
    since: Mapping[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.domain) > DOMAIN_MAX or not _DOMAIN.fullmatch(self.domain):
            raise ValueError(
                f"signing domain {self.domain!r} must be an ASCII domain name of at most {DOMAIN_MAX} characters"
            )
        if self.keys and self.active not in self.keys:
            raise ValueError(f"the active signing key {self.active!r} is not among the keys")
        if unknown := self.since.keys() - self.keys.keys():
            raise ValueError(f"signing keys {sorted(unknown)} have a `since` but no secret")
        for key_id in self.keys:
            if not _KEY_ID.fullmatch(key_id.lower()) or key_id == UNSIGNED:
                raise ValueError(
                    f"signing key id {key_id!r} must be 1-8 ASCII letters or digits, other than {UNSIGNED!r}"
                )
        if len({key_id.lower() for key_id in self.keys}) != len(self.keys):
            raise ValueError("signing key ids must differ by more than upper and lower case")

    def signer(self, requested_at: datetime) -> "Signer":
        """The key that signs what was requested at that time."""
        if not self.keys:
            return Signer(UNSIGNED, b"", self.domain.lower())
        beginning = datetime.min.replace(tzinfo=UTC)
        known = [
            (self.since.get(key_id, beginning), key_id == self.active, key_id)
            for key_id in self.keys
            if self.since.get(key_id, beginning) <= requested_at
        ]
        key_id = max(known)[2] if known else self.active
        return Signer(key_id.lower(), self.keys[key_id], self.domain.lower())

    def secret(self, key_id: str) -> bytes | None:
        """The secret of a key id as marks carry it (lower case); None when it is not ours."""
        return next((secret for name, secret in self.keys.items() if name.lower() == key_id), None)


@dataclass(frozen=True, slots=True)
class Signer:
    """One key at work."""

    key_id: str
    secret: bytes = field(repr=False)
    domain: str

    def message_id(self, ticket_id: str, event_id: str) -> str:
        """`<...@domain>`, at most MESSAGE_ID_MAX characters, the same for the same ticket and event."""
        return self.message_id_by_part(ticket_id, event_part(event_id))

    def message_id_by_part(self, ticket_id: str, part: str) -> str:
        """The same, by what `event_part` says of the event."""
        return self._message_id(ticket_id, f".{part}")

    def root_mark(self, ticket_id: str) -> str:
        """A Message-ID that stands for the whole ticket in every mail's References."""
        return self._message_id(ticket_id, "")

    def plus_address(self, address: str, ticket_id: str) -> str | None:
        """`local+tag@domain`; None where the local part is quoted or would pass 64 octets (RFC 5321 section 4.5.3.1.1)."""
        return tagged_address(address, self._tag("plus", ticket_id))

    def body_marker(self, ticket_id: str) -> str:
        """`[ref:...]`: ASCII without spaces or HTML's special characters, so it survives wrapping and both body forms."""
        return f"[ref:{self._tag('body', ticket_id)}]"

    def recipient_proof(self, message_id: str, mailbox: str) -> str:
        """KEYMAC that ties a Message-ID of ours to the only recipient whom that mail has; `mailbox` as `mailbox_key` spells it."""
        return f"{self.key_id}{mac(self.secret, f'to:{message_id}:{mailbox}')}"

    def _message_id(self, ticket_id: str, event: str) -> str:
        room = MESSAGE_ID_MAX - len(f"<{event}.{self.key_id}@{self.domain}>") - MAC_CHARS
        written = write_id(ticket_id)
        signed = (written if len(written) <= room else digest_id(ticket_id)) + event
        return f"<{signed}.{self.key_id}{mac(self.secret, f'id:{signed}@{self.domain}')}@{self.domain}>"

    def _tag(self, kind: str, ticket_id: str) -> str:
        signed = write_id(ticket_id)
        return f"{signed}.{self.key_id}{mac(self.secret, f'{kind}:{signed}')}"


def read_message_id(keys: SigningKeys, message_id: str) -> Mark | None:
    """The ticket that one Message-ID (with or without angle brackets) names; None where it is not ours or not readable."""
    value = message_id.strip()
    if len(value) > MESSAGE_ID_MAX or not value.isascii():
        return None
    found = _MESSAGE_ID.fullmatch(value.lower())
    return found and _mark(keys, found, f"id:{found['signed']}@{found['domain']}")


def names_event(message_id: str, event_id: str) -> bool:
    """Whether a Message-ID of ours, whose signature is known to hold, was made for this event."""
    found = _MESSAGE_ID.fullmatch(message_id.strip().lower())
    return found is not None and found["signed"].rpartition(".")[2] == event_part(event_id)


def proves_recipient(keys: SigningKeys, proof: str, message_id: str, mailbox: str) -> bool:
    """Whether we wrote this proof: the mail with that Message-ID had this recipient and no other."""
    found = _PROOF.fullmatch(proof.strip().lower())
    secret = None if found is None else keys.secret(found["key"])
    if found is None or secret is None:
        return False
    return hmac.compare_digest(mac(secret, f"to:{message_id}:{mailbox}"), found["mac"])


def read_plus_address(keys: SigningKeys, address: str) -> Mark | None:
    """The ticket that an address's +tag names."""
    tag = tag_of(address)
    return _read_tag(keys, "plus", tag) if tag else None


def read_body_markers(keys: SigningKeys, text: str) -> tuple[Mark, ...]:
    """The different tickets that markers in a text or HTML body name, in order of appearance."""
    marks: dict[Mark, None] = {}
    for found in _BODY_MARKER.finditer(text):
        if len(marks) == MARKS_PER_TEXT_MAX:
            break
        if mark := _read_tag(keys, "body", found[1]):
            marks[mark] = None
    return tuple(marks)


def read_subject_tags(subject: str, pattern: re.Pattern[str] = SUBJECT_TAG) -> tuple[Mark, ...]:
    """The different ticket ids in tags such as `[#4711]` or `[Ticket#4711]`; group 1 of the pattern is the id."""
    found = dict.fromkeys(match[1] for match in pattern.finditer(subject))
    return tuple(Mark(ticket_id, verified=False) for ticket_id in list(found)[:MARKS_PER_TEXT_MAX])


def _read_tag(keys: SigningKeys, kind: str, tag: str) -> Mark | None:
    found = _TAG.fullmatch(tag.lower()) if tag.isascii() else None
    return found and _mark(keys, found, f"{kind}:{found['signed']}")


def _mark(keys: SigningKeys, found: re.Match[str], signed: str) -> Mark | None:
    ticket_id = read_id(found["id"])
    if ticket_id is None:
        return None
    secret = keys.secret(found["key"])
    verified = secret is not None and hmac.compare_digest(mac(secret, signed), found["mac"])
    return Mark(ticket_id, verified, found["key"])
