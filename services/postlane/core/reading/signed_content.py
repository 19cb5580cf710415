"""What an opaque S/MIME part (RFC 8551 section 3.5.2) signs: the mail inside, taken out without judging the signature.

Reads just enough BER (X.690) to reach the content of a CMS SignedData (RFC 5652 section 5.1), indefinite lengths included; never raises.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
_ENVELOPED_DATA = (bytes.fromhex("06092a864886f70d010703"), bytes.fromhex("060b2a864886f70d0109100117"))
_OCTETS = 0x04
_OCTETS_CONSTRUCTED = 0x24
_END_OF_CONTENTS = b"\x00\x00"
_DEPTH_MAX = 8  # honest content is at most two levels of octet strings deep
_LENGTH_BYTES_MAX = 4
_PIECES_MAX = 100_000  # programs write a thousand bytes and more at once


class _Malformed(Exception):
    """The bytes are not what they claim to be."""


def signed_content(content: bytes) -> bytes | None:
    """The bytes that the part signs; None where it contains none, or is no SignedData."""
    limit = len(content)
    try:
        oid = _enter(content, 0, limit)  # ContentInfo
        if content[oid : oid + len(_SIGNED_DATA)] != _SIGNED_DATA:
            return None
        explicit = _skip(content, oid, limit)
        version = _enter(content, _enter(content, explicit, limit), limit)
        digests = _skip(content, version, limit)
        kind = _enter(content, _skip(content, digests, limit), limit)  # EncapsulatedContentInfo
        octets = _enter(content, _skip(content, kind, limit), limit)
    except _Malformed:
        return None
    pieces: list[bytes] = []
    with suppress(_Malformed):  # a cut mail still shows what has come
        for piece in islice(_octets(content, octets, limit, 0), _PIECES_MAX):
            pieces.append(piece)  # noqa: PERF402 - what was taken before the fault counts
    return b"".join(pieces) or None


def is_enveloped(content: bytes) -> bool:
    """Whether the part is encrypted (EnvelopedData, AuthEnvelopedData): its content is for the key's owner alone."""
    return any(oid in content[:40] for oid in _ENVELOPED_DATA)


def _header(content: bytes, at: int, limit: int) -> tuple[int, int, int | None]:
    """Tag, where the value begins, and its length; None = it ends with an end-of-contents mark."""
    if at + 2 > limit:
        raise _Malformed
    tag, length = content[at], content[at + 1]
    if length < 0x80:
        return tag, at + 2, length
    size = length & 0x7F
    if size > _LENGTH_BYTES_MAX:
        raise _Malformed
    return tag, at + 2 + size, int.from_bytes(content[at + 2 : at + 2 + size]) if size else None


def _enter(content: bytes, at: int, limit: int) -> int:
    """Where the first element inside the one at `at` begins."""
    tag, value_at, _ = _header(content, at, limit)
    if not tag & 0x20:
        raise _Malformed
    return value_at


def _skip(content: bytes, at: int, limit: int, depth: int = 0) -> int:
    """Where the element after the one at `at` begins."""
    _, value_at, length = _header(content, at, limit)
    if length is not None:
        return value_at + length
    if depth > _DEPTH_MAX:
        raise _Malformed
    at = value_at
    while content[at : at + 2] != _END_OF_CONTENTS:
        at = _skip(content, at, limit, depth + 1)
    return at + 2


def _octets(content: bytes, at: int, limit: int, depth: int) -> Iterator[bytes]:
    """The pieces of an octet string; what a cut mail still holds of them counts."""
    tag, value_at, length = _header(content, at, limit)
    end = limit if length is None else min(value_at + length, limit)
    if tag == _OCTETS:
        yield content[value_at:end]
        return
    if tag != _OCTETS_CONSTRUCTED or depth > _DEPTH_MAX:
        raise _Malformed
    at = value_at
    while at < end and content[at : at + 2] != _END_OF_CONTENTS:
        yield from _octets(content, at, end, depth + 1)
        at = _skip(content, at, end)
