"""The parts that every mail event shares: addresses, headers, blobs."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One mailbox: `address` is the addr-spec (RFC 5322 3.4.1), `name` the display name or empty."""

    address: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One header field, its value unfolded and decoded to text."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRef:
    """A claim check: content in the blob store, named by the lower-case hex SHA-256 of its bytes."""

    sha256: str
    size_bytes: int


class Disposition(StrEnum):
    """How an attachment wants to be shown (RFC 2183)."""

    ATTACHMENT = "ATTACHMENT"
    INLINE = "INLINE"
