"""Arguments of commands as the server wants them: strings, literals, folder names, sets of UIDs, dates."""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from postlane.core.imap.facts import Namespace

LITERAL_MINUS_BYTES_MAX = 4096  # LITERAL- allows no larger ones without asking (RFC 7888 section 4)
QUOTED_MAX = 1000  # servers may have small buffers for lines; a literal is right for anything longer

_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that are announced before they are sent."""

    content: bytes


Argument = bytes | Literal


def announcement(literal: Literal, capabilities: frozenset[str]) -> tuple[bytes, bool]:
    """How a literal is announced, and whether the server must be waited for first (RFC 7888)."""
    size = len(literal.content)
    at_once = "LITERAL+" in capabilities or ("LITERAL-" in capabilities and size <= LITERAL_MINUS_BYTES_MAX)
    return b"{%d%s}" % (size, b"+" if at_once else b""), not at_once


def quote(text: str) -> str:
    """A quoted string. Raises ValueError for characters that would end the line or the string's rules."""
    if any(char in "\r\n\x00" for char in text):
        raise ValueError("line ends and NUL cannot be sent to an IMAP server")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def string(text: str) -> Argument:
    """A quoted string where that is allowed, else a literal (RFC 3501 section 4.3). Raises ValueError for NUL."""
    if "\x00" in text:
        raise ValueError("NUL cannot be sent to an IMAP server")
    plain = text.isascii() and not any(char in "\r\n" for char in text) and len(text) <= QUOTED_MAX
    return quote(text).encode() if plain else Literal(text.encode())


def encode_folder(name: str) -> str:
    """A mailbox name in modified UTF-7 (RFC 3501 section 5.1.3)."""
    encoded: list[str] = []
    pending: list[str] = []

    def flush() -> None:
        if pending:
            text = b64encode("".join(pending).encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
            encoded.append(f"&{text}-")
            pending.clear()

    for char in name:
        if " " <= char <= "~":
            flush()
            encoded.append("&-" if char == "&" else char)
        else:
            pending.append(char)
    flush()
    return "".join(encoded)


def decode_folder(name: str) -> str:
    """A mailbox name as people write it; what is no modified UTF-7 stays as it is."""

    def decoded(found: "re.Match[str]") -> str:
        if not found[1]:
            return "&"
        padded = found[1].replace(",", "/") + "=" * (-len(found[1]) % 4)
        try:
            return b64decode(padded, validate=True).decode("utf-16-be")
        except ValueError:
            return found[0]

    return _SHIFTED.sub(decoded, name)


def folder_name(name: str, *, utf8: bool = False) -> str:
    """A mailbox name, quoted; in UTF-8 where the server has enabled that (RFC 6855 section 5.1). Raises ValueError."""
    plain = quote(name)  # refuses what an encoding would hide
    return plain if utf8 else quote(encode_folder(name))


def place_folder(name: str, own: Namespace) -> str:
    """A folder as the server names it: its own delimiter for `/`, and ours below the prefix of our namespace (RFC 2342)."""
    if name.upper() == "INBOX":
        return "INBOX"
    if any(name.startswith(other) for other in own.others):
        return name  # such as `user.bob.Support`, which only the server's own spelling reaches
    if own.delimiter not in {"", "/"} and own.delimiter not in name:
        name = name.replace("/", own.delimiter)
    return (
        name if name.startswith(own.prefix) or name == own.prefix.rstrip(own.delimiter) else own.prefix + name
    )


def uid_set(uids: Sequence[int]) -> str:
    """Ascending UIDs as a sequence set, runs joined: `1:3,7`."""
    runs: list[list[int]] = []
    for uid in sorted(set(uids)):
        if runs and uid == runs[-1][1] + 1:
            runs[-1][1] = uid
        else:
            runs.append([uid, uid])
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in runs)


def search_date(day: datetime) -> str:
    """A SEARCH date (`01-Feb-2026`); servers compare the day alone, in their own zone."""
    return f"{day.day:02d}-{_MONTHS[day.month - 1]}-{day.year:04d}"
