"""From bytes as they arrive to whole responses: a line, with the literals that it announces (RFC 3501 section 4.3).

No recursion, and a limit on everything: whatever a server sends, this holds at most one line and one literal's worth of it.
"""

import re

LINE_BYTES_MAX = 16 * 2**20  # a SEARCH answer names its mails in one line: about two million of them
LITERALS_MAX = 1000  # in one response; we never ask for more than one
SHOWN_MAX = 80  # characters of nonsense that are shown to people

Fragments = tuple[bytes, ...]

_LITERAL = re.compile(rb"~?\{(\d{1,19})\+?\}\Z")
# Their text is for people and may end in anything (RFC 3501 section 7.1); so may that of tagged responses and of `+`.
_FREE_TEXT = re.compile(rb"\* (?:OK|NO|BAD|BYE|PREAUTH)\b|[^*]", re.IGNORECASE)


class ImapSyntaxError(Exception):
    """The server says what is no IMAP, or more than can be held; the text goes on after the name of the server."""


class ResponseStream:
    """Takes bytes and gives responses: text, literal, text, literal, ..., text; line ends and literals' announcements are left out."""

    def __init__(self, literal_bytes_max: int) -> None:
        self._literal_bytes_max = literal_bytes_max
        self._buffer = bytearray()
        self._searched = 0  # no line end before this place of the buffer
        self._fragments: list[bytes] = []
        self._literal: int | None = None  # the size of the literal that comes next

    @property
    def holds_bytes(self) -> bool:
        """Whether a response has begun and not ended."""
        return bool(self._buffer or self._fragments)

    def feed(self, data: bytes) -> list[Fragments]:
        """The responses that are whole now. Raises ImapSyntaxError, after which the stream is of no use."""
        self._buffer += data
        responses: list[Fragments] = []
        at = 0
        while (after := self._take(at)) is not None:
            at = after
            if self._literal is None and self._ended:
                responses.append(tuple(self._fragments))
                self._fragments = []
        if at:
            del self._buffer[:at]
            self._searched = max(0, self._searched - at)
        return responses

    @property
    def _ended(self) -> bool:
        return len(self._fragments) % 2 == 1

    def _take(self, at: int) -> int | None:
        """Move one literal or one line from the buffer to the fragments; where the rest begins, None where it is not there yet."""
        if self._literal is not None:
            return self._take_literal(at, self._literal)
        end = self._buffer.find(b"\n", max(at, self._searched))
        if (len(self._buffer) if end < 0 else end) - at > LINE_BYTES_MAX:
            raise ImapSyntaxError(f"sends a line of more than {LINE_BYTES_MAX} bytes")
        if end < 0:
            self._searched = len(self._buffer)
            return None
        text = bytes(self._buffer[at:end]).removesuffix(b"\r")
        self._searched = end + 1
        if text.endswith(b"}") and (self._fragments or not _FREE_TEXT.match(text)):
            text = self._announced(text)
        self._fragments.append(text)
        return end + 1

    def _take_literal(self, at: int, size: int) -> int | None:
        if len(self._buffer) - at < size:
            return None
        with memoryview(self._buffer) as view:
            self._fragments.append(bytes(view[at : at + size]))
        self._literal = None
        self._searched = at + size
        return at + size

    def _announced(self, text: bytes) -> bytes:
        found = _LITERAL.search(text)
        if found is None:
            return text
        size = int(found[1])
        if size > self._literal_bytes_max:
            raise ImapSyntaxError(
                f"announces {size} bytes at once; at most {self._literal_bytes_max} are taken"
            )
        if len(self._fragments) >= 2 * LITERALS_MAX:
            raise ImapSyntaxError(f"sends more than {LITERALS_MAX} literals in one response")
        self._literal = size
        return text[: found.start()]


def shown(text: bytes) -> str:
    """Nonsense as it may be shown: one short line without control characters."""
    words = "".join(
        char if char.isprintable() else "?" for char in text[:SHOWN_MAX].decode("utf-8", "replace")
    )
    return words.strip() + ("..." if len(text) > SHOWN_MAX else "")
