"""RTF bodies as Outlook sends them: decompressed ([MS-OXRTFCP]), and read as the HTML that they encapsulate ([MS-OXRTFEX]) or as text."""

import re
import struct
from dataclasses import dataclass
from itertools import islice

RTF_BYTES_MAX = 4 * 1024 * 1024  # of decompressed RTF
TEXT_CHARACTERS_MAX = 1024 * 1024
TOKENS_MAX = 500_000  # of four megabytes; what has more is braces for their own sake
GROUPS_MAX = 500  # nested groups; Word writes about 20

_COMPRESSED, _PLAIN = b"LZFu", b"MELA"
_DICTIONARY = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans SerifSymbolArial"
    rb"Times New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
_RING = 4096


@dataclass(frozen=True, slots=True)
class RtfText:
    """What the RTF says: the HTML that it was made from, where it was, and else its words."""

    html: str | None
    text: str | None


def decompress_rtf(content: bytes, bytes_max: int = RTF_BYTES_MAX) -> bytes:
    """RTF from its compressed form, `bytes_max` of it at the most; as far as it goes where it is cut."""
    if len(content) < 16:
        return b""
    raw_size, kind = struct.unpack_from("<I4s", content, 4)
    size = min(raw_size, bytes_max)
    if kind == _PLAIN:
        return content[16 : 16 + size]
    return _expand(content, size) if kind == _COMPRESSED else b""


def _expand(content: bytes, size: int) -> bytes:
    """The ring that the format speaks of is the end of what was written so far."""
    window = bytearray(_RING) + _DICTIONARY
    begin = len(window)
    at = 16
    while at + 1 < len(content) and len(window) < begin + size:
        control = content[at]
        at += 1
        for bit in range(8):
            if not control >> bit & 1:
                window += content[at : at + 1]
                at += 1
                continue
            if at + 1 >= len(content):
                return bytes(window[begin:])
            read, length = content[at] << 4 | content[at + 1] >> 4, (content[at + 1] & 0xF) + 2
            at += 2
            distance = (len(window) - read) % _RING
            if not distance:  # the end mark
                return bytes(window[begin:])
            from_here = window[-distance:][:length]
            window += (from_here * (length // len(from_here) + 1))[:length]
    return bytes(window[begin : begin + size])


_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z])|([{}])|[\r\n]+|([^\\{}\r\n]+)",
    re.DOTALL,
)
_HIDDEN = frozenset(
    b"fonttbl colortbl stylesheet info pict object listtable listoverridetable generator themedata colorschememapping "
    b"latentstyles datastore xmlnstbl rsidtbl mmathPr header footer headerl headerr footerl footerr".split()
)
_WORDS = {
    b"par": "\n", b"line": "\n", b"tab": "\t", b"cell": "\t", b"row": "\n", b"emdash": "—", b"endash": "\u2013", b"bullet": "•",
    b"lquote": "\u2018", b"rquote": "\u2019", b"ldblquote": "“", b"rdblquote": "”", b"nbsp": "\xa0",
}  # fmt: skip
_SYMBOLS = {b"~": "\xa0", b"_": "-", b"\n": "\n", b"\r": "\n", b"\\": "\\", b"{": "{", b"}": "}"}


def read_rtf(rtf: bytes) -> RtfText | None:
    """The words of an RTF document; None where it is none."""
    if not rtf.startswith(b"{\\rtf"):
        return None
    is_html = b"\\fromhtml" in rtf[:2000]
    text = _Reader(is_html).read(rtf)
    return RtfText(text, None) if is_html else RtfText(None, text.strip("\n"))


@dataclass(slots=True)
class _Group:
    """What holds until the group's closing brace."""

    hidden: bool = False
    is_tag: bool = False  # inside {\*\htmltag ...}: HTML source, not its rendering
    is_rendering: bool = False  # inside \htmlrtf: what RTF readers show instead
    skip_after_unicode: int = 1


class _Reader:
    """One pass over the tokens."""

    def __init__(self, is_html: bool) -> None:
        self._is_html = is_html
        self._out: list[str] = []
        self._bytes = bytearray()
        self._codec = "cp1252"
        self._names_codec = False
        self._groups = [_Group()]
        self._star = False
        self._to_skip = 0
        self._length = 0

    def read(self, rtf: bytes) -> str:
        """All text that is shown; for encapsulated HTML its source."""
        for found in islice(_TOKEN.finditer(rtf), TOKENS_MAX):
            word, number, code, symbol, brace, run = found.groups()
            if word:
                self._word(word, number)
            elif code:
                self._literal(bytes([int(code, 16)]))
            elif symbol:
                self._symbol(symbol)
            elif brace:
                self._brace(brace)
            elif run:
                self._literal(run)
            if self._length > TEXT_CHARACTERS_MAX:
                break
        self._flush()
        # \u writes characters beyond the basic plane as two halves.
        return "".join(self._out).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _brace(self, brace: bytes) -> None:
        self._star, self._to_skip = False, 0
        top = self._groups[-1]
        if brace == b"{" and len(self._groups) < GROUPS_MAX:
            self._groups.append(_Group(top.hidden, top.is_tag, top.is_rendering, top.skip_after_unicode))
        elif brace == b"}" and len(self._groups) > 1:
            self._groups.pop()

    def _symbol(self, symbol: bytes) -> None:
        if symbol == b"*":
            self._star = True
        elif symbol in _SYMBOLS:
            self._show(_SYMBOLS[symbol])

    def _word(self, word: bytes, number: bytes | None) -> None:
        group = self._groups[-1]
        star, self._star = self._star, False
        if word == b"ansicpg" and number and not self._names_codec:
            self._names_codec = True  # it stands at the beginning, once
            self._codec = {b"65001": "utf-8", b"10000": "mac_roman"}.get(number, f"cp{int(number)}")
        elif word == b"uc":
            group.skip_after_unicode = min(abs(int(number or b"1")), 10)
        elif word == b"u" and number:
            self._show(chr(int(number) % 0x10000))
            self._to_skip = group.skip_after_unicode
        elif word == b"htmltag":
            group.is_tag, group.hidden = True, False
        elif word == b"htmlrtf":
            group.is_rendering = number != b"0"
        elif word in _HIDDEN or star:
            group.hidden = True
        elif word in _WORDS and not (
            self._is_html and group.is_tag and word not in (b"par", b"line", b"tab")
        ):
            self._show(_WORDS[word])

    def _literal(self, run: bytes) -> None:
        skipped = min(self._to_skip, len(run))
        self._to_skip -= skipped
        if self._is_shown() and skipped < len(run):
            self._bytes += run[skipped:]
            self._length += len(run)

    def _show(self, text: str) -> None:
        if self._is_shown():
            self._flush()
            self._out.append(text)
            self._length += len(text)

    def _is_shown(self) -> bool:
        group = self._groups[-1]
        return not group.hidden and not (group.is_rendering and not group.is_tag)

    def _flush(self) -> None:
        if not self._bytes:
            return
        try:
            self._out.append(self._bytes.decode(self._codec, "replace"))
        except LookupError:
            self._out.append(self._bytes.decode("cp1252", "replace"))
        self._bytes.clear()
