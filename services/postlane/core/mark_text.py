"""How marks are spelled: ticket ids, MACs and tags in lower-case ASCII without quoting, because some mail systems fold the case of local parts."""

import hmac
import re
from base64 import b32decode, b32encode
from binascii import Error as Base32Error
from hashlib import sha256

from postlane.core.addresses import ADDRESS_MAX, LOCAL_PART_MAX

MAC_CHARS = 16  # 16 * 5 bits = 80 bits

# What patterns of marks are made of.
ID = r"(?P<id>[tub][a-z0-9-]*)"
KEY_MAC = rf"(?P<key>[a-z0-9]{{1,8}})(?P<mac>[a-z2-7]{{{MAC_CHARS}}})"

_PLAIN = re.compile(r"[a-z0-9-]*")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def write_id(ticket_id: str) -> str:
    """A ticket id in its shortest safe form."""
    if _UUID.fullmatch(ticket_id):
        return "u" + _base32(bytes.fromhex(ticket_id.replace("-", "")))
    if _PLAIN.fullmatch(ticket_id):
        return "t" + ticket_id
    return "b" + _base32(ticket_id.encode())


def digest_id(ticket_id: str) -> str:
    """In the place of an id that is too long; nobody can read it again."""
    return "h" + _base32(sha256(ticket_id.encode()).digest()[:20])


def read_id(written: str) -> str | None:
    """The ticket id again; None where it was not written by `write_id`."""
    form, text = written[0], written[1:]
    if form == "t":
        return text
    try:
        content = b32decode(text.upper() + "=" * (-len(text) % 8))
        if form == "b":
            return content.decode()
    except (Base32Error, UnicodeDecodeError):
        return None
    digits = content.hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(parts) if len(content) == 16 else None


def event_part(event_id: str) -> str:
    """What stands for an event in a mark: MAC_CHARS characters."""
    return _base32(sha256(event_id.encode()).digest())[:MAC_CHARS]


def mac(secret: bytes, text: str) -> str:
    """HMAC-SHA256 cut to 80 bits (RFC 2104 section 5), in MAC_CHARS characters."""
    return _base32(hmac.digest(secret, text.encode(), "sha256"))[:MAC_CHARS]


def tagged_address(address: str, tag: str) -> str | None:
    """`local+tag@domain`; None where the local part is quoted, or something would be longer than RFC 5321 section 4.5.3.1 allows."""
    local, _, domain = address.rpartition("@")
    tagged = f"{local}+{tag}"
    octets = len(tagged.encode())
    fits = octets <= LOCAL_PART_MAX and octets + 1 + len(domain) <= ADDRESS_MAX
    return f"{tagged}@{domain}" if local and '"' not in local and fits else None


def untagged(address: str) -> str:
    """The mailbox behind an address with a +tag."""
    local, at, domain = address.rpartition("@")
    return f"{local.partition('+')[0] or local}{at}{domain}"


def tag_of(address: str) -> str | None:
    """An address's tag in lower case, the address itself where it has none; None where no mark of ours can be."""
    local = address.strip().removeprefix("<").rpartition("@")[0]
    tag = local.rpartition("+")[2]
    return tag.lower() if len(local) <= LOCAL_PART_MAX and tag.isascii() else None


def _base32(content: bytes) -> str:
    return b32encode(content).decode().rstrip("=").lower()
