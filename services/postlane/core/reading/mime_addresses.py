"""Address lists (RFC 5322 section 3.4) and message ids (section 3.6.4), read with tolerance; linear in their length.

Groups give their members, comments are dropped or, for a bare address, taken as its name. What cannot be read as an address is kept
as a name with an empty address, because it is still evidence.
"""

import re

from postlane.core.events.mail import Address
from postlane.core.reading.mime_headers import decode_header
from postlane.core.reading.mime_text import decode_text

ADDRESSES_MAX = 500  # per mail and field: more than any help desk needs to see
ADDRESS_TEXT_MAX = 320  # an addr-spec has at most 254 characters; names are cut here as well
MESSAGE_IDS_MAX = 100  # newest kept: References of old threads grow without end
MESSAGE_ID_MAX = 998  # a header line (RFC 5322 section 2.1.1)

_BRACKETED_ID = re.compile(r"<([^<>]{1,998})>")
_BARE_ID = re.compile(r"[^\s,;<>]{1,900}@[^\s,;<>]{1,250}")
_BLANKS = re.compile(r"\s+")
_BLANKS_AT = re.compile(rb"\s*@\s*")
_BARE_ADDRESS = re.compile(r"[^\s@<>,;]+@[^\s@<>,;]+")
_BARE = re.compile(rb"[^\s@<>,;\"]+@[^\s@<>,;\"]+")
_QUOTED_WHOLE = re.compile(rb'"([^\s@<>,;"]+@[^\s@<>,;"]+)"')
_ROUTE = re.compile(r"^@[^:]*:")
_QUOTED_PAIR = re.compile(rb"\\(.)")


# How nearly every mail is addressed: `ann@example.org`, `<ann@example.org>`, `Ann Example <..>`, `"Example, Ann" <..>`.
_ADDR_SPEC = rb"[A-Za-z0-9][A-Za-z0-9._+-]*+@[A-Za-z0-9.-]++"
_ORDINARY = re.compile(
    rb'(?:([A-Za-z0-9][A-Za-z0-9 .-]*+|"[A-Za-z0-9 .,@()&/+-]*+")?[ ]*<(%b)>)|(%b)' % (_ADDR_SPEC, _ADDR_SPEC)
)


def parse_addresses(value: bytes, hint: str | None = None) -> tuple[Address, ...]:
    """The mailboxes of a From, To, Cc or Reply-To value, in order, duplicates kept; `hint` = charset of its 8-bit text."""
    if not value:
        return ()
    if (ordinary := _ordinary_list(value)) is not None:
        return ordinary
    if (
        b"\x1b" in value or not value.isascii()
    ):  # ISO-2022-JP and Shift JIS use the bytes of commas and brackets
        value = decode_text(value, None, hint)[0].encode()
    tokens, balanced = _split_list(value)
    if not balanced:  # an unclosed quote or comment would swallow what follows
        tokens, _ = _split_list(value.translate(None, b'"()'))
    return tuple(address for token in tokens for address in _mailboxes(token))[:ADDRESSES_MAX]


def parse_message_ids(value: str) -> tuple[str, ...]:
    """Message ids with their angle brackets; ids without brackets or joined by commas (Exchange, iOS) are read too."""
    found = [_BLANKS.sub("", match[1]) for match in _BRACKETED_ID.finditer(value)]
    if not found:
        found = [match[0] for match in _BARE_ID.finditer(value[: MESSAGE_IDS_MAX * MESSAGE_ID_MAX])]
    distinct = list(dict.fromkeys(f"<{message_id}>" for message_id in found if message_id))
    return tuple(distinct[:1] + distinct[1:][-(MESSAGE_IDS_MAX - 1) :])


_LEXEME = re.compile(
    rb'=\?[A-Za-z0-9_.*-]{1,60}\?[bBqQ]\?[^?<>"]{0,400}\?=|"(?:[^"\\]|\\.)*"|\\.|[()<>,;:]|=|[^"\\()<>,;:=]+|.',
    re.DOTALL,
)


class _Token:
    """One list element while it is read: the words outside, the address in angle brackets, comments."""

    def __init__(self) -> None:
        self.words = bytearray()
        self.angle: bytearray | None = None
        self.name_length = 0  # of the words that stood before the brackets
        self.comment = bytearray()


def _split_list(value: bytes) -> tuple[list[_Token], bool]:
    """The list's elements, and whether every quote and comment was closed."""
    reader = _ListReader()
    for found in _LEXEME.finditer(value):
        reader.take(found[0])
        if len(reader.tokens) > ADDRESSES_MAX:
            break
    return reader.tokens, reader.balanced and not reader.comment_depth


class _ListReader:
    """Where in an address list we are: in a comment (they nest), in angle brackets, or outside."""

    def __init__(self) -> None:
        self.tokens = [_Token()]
        self.balanced = True
        self.comment_depth = 0
        self._in_angle = False

    def take(self, lexeme: bytes) -> None:
        """Use one lexeme: a quoted string, an escaped character, a special, or a run of anything else."""
        token = self.tokens[-1]
        match lexeme:
            case b"(":
                self.comment_depth += 1
            case b")" if self.comment_depth:
                self.comment_depth -= 1
            case _ if self.comment_depth:
                token.comment += lexeme
            case b"<" if not self._in_angle:
                self._in_angle = True
                if token.angle:  # the comma before it is missing
                    following = _Token()
                    following.words = token.words[token.name_length :]
                    del token.words[token.name_length :]
                    self.tokens.append(following)
                    token = following
                token.angle = bytearray()
            case b">" if self._in_angle:
                self._in_angle = False
                token.name_length = len(token.words)
            case b"," | b";" if not self._in_angle:
                self.tokens.append(_Token())
            case b":" if not self._in_angle and b"@" not in token.words:
                token.words.clear()  # the name of a group (RFC 5322 section 3.4)
            case _:
                self.balanced = self.balanced and lexeme != b'"'
                (token.angle if self._in_angle and token.angle is not None else token.words).extend(lexeme)


def _ordinary_list(value: bytes) -> tuple[Address, ...] | None:
    """The addresses, where each is written in the ordinary way."""
    addresses: list[Address] = []
    for part in value.split(b",", ADDRESSES_MAX) if b"," in value else (value,):
        found = _ORDINARY.fullmatch(part.strip())
        if found is None:
            return None
        name = " ".join((found[1] or b"").strip(b'"').decode("ascii").split())
        address = (found[2] or found[3]).decode("ascii")
        addresses.append(Address(address=address[:ADDRESS_TEXT_MAX], name=name[:ADDRESS_TEXT_MAX]))
    return tuple(addresses[:ADDRESSES_MAX])


def _mailboxes(token: _Token) -> tuple[Address, ...]:
    """The address of one list element; of several without commas between them, each."""
    words = bytes(token.words).split()
    if token.angle is None and len(words) > 1 and all(_BARE.fullmatch(word) for word in words):
        return tuple(Address(address=_addr_spec(word)) for word in words)
    address = _mailbox(token)
    return () if address is None else (address,)


def _mailbox(token: _Token) -> Address | None:
    words = bytes(token.words).strip()
    if token.angle is not None:
        address, name = _addr_spec(bytes(token.angle)), _phrase(words)
        if not address and _BARE_ADDRESS.fullmatch(name):
            return Address(address=name)
        return Address(address=address, name=name) if address or name else None
    if b"@" in words:
        return _bare_mailbox(words, bytes(token.comment))
    name = _phrase(words)
    if _BARE_ADDRESS.fullmatch(name):  # a whole address hidden in an encoded word
        return Address(address=name[:ADDRESS_TEXT_MAX])
    return Address(address="", name=name) if name else None


def _bare_mailbox(words: bytes, comment: bytes) -> Address:
    """An address without brackets; words before it can only be its name."""
    if b'"' not in words and b" " in words:
        closed = _BLANKS_AT.sub(b"@", words).split()
        named = [word for word in closed if b"@" in word]
        if len(named) == 1 and len(closed) > 1:
            others = b" ".join(word for word in closed if b"@" not in word)
            return Address(address=_addr_spec(named[0]), name=_phrase(others) or _phrase(comment))
    return Address(address=_addr_spec(words), name=_phrase(comment))


def _addr_spec(value: bytes) -> str:
    if quoted := _QUOTED_WHOLE.fullmatch(value):
        value = quoted[1]
    if b"<" in value and _BARE.fullmatch(before := value.partition(b"<")[0].strip()):
        value = before  # ann@example.org<mailto:ann@example.org>
    text = _BLANKS.sub("", decode_header(value)) if b'"' not in value else decode_header(value)
    text = _ROUTE.sub("", text.strip("<> "))
    return text.removeprefix("mailto:")[:ADDRESS_TEXT_MAX]


def _phrase(words: bytes) -> str:
    text = words.strip()
    if text.startswith(b'"') and text.endswith(b'"') and len(text) >= 2:
        text = _QUOTED_PAIR.sub(rb"\1", text[1:-1])
    else:
        text = text.replace(b'"', b"")
    return _BLANKS.sub(" ", decode_header(text)).strip(" '").removesuffix(" >")[:ADDRESS_TEXT_MAX]
