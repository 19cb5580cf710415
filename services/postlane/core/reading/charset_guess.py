"""What text is written in where nothing says so, or what says so is wrong; only bounded samples are looked at."""

import re

from charset_normalizer import from_bytes

SAMPLE_BYTES_MAX = 4096  # more does not make the guess better, and time grows with it
LINE_BYTES_BEFORE = 200  # of a line whose first letter beyond ASCII comes late
HIGH_BYTES_MIN = 3  # one or two letters say nothing
ODD_LETTERS_MIN = 2  # Latin text without them is Windows-1252, by far the most common one

_HIGH = re.compile(rb"[\x80-\xff]")
_WORD = re.compile(rb"[A-Za-z\x80-\xff]+")
_LETTERS = re.compile(rb"[A-Za-z]")
# What letters of Central Europe, Turkey and the Baltic look like in Windows-1252, beside a letter; the first kind never stands
# inside words of Western Europe, the second is rare there.
_FOREIGN = re.compile("[A-Za-z][¹³¿£¼¾¯œŸ±¶]|[¹³¿£¼¾¯œŸ±¶][a-z]")
_RARE = re.compile("[A-Za-z][ðþýìøØ]|[ðþýìøØ][a-z]")
_ONLY_CP1250 = re.compile(rb"[\x8a\x8c-\x8f\x9a\x9c-\x9f]")
_ONLY_LATIN_2 = re.compile(rb"[\xb1\xb6\xbc\xbe]")
_KANA = re.compile("[\u3041-\u30fe]")
_JAPANESE_ESCAPE = re.compile(rb"\x1b(?:\$[@B]|\([BJI])")
_KOREAN_ESCAPE = b"\x1b$)C"

_LATIN = ["cp1252", "cp1250", "cp1254", "cp1257"]
_OTHERS = ["cp1251", "koi8_r", "koi8_u", "cp1253", "cp1255", "cp1256", "cp874", "gb18030", "big5", "cp949"]


def guess_codec(content: bytes) -> str:
    """A codec for undeclared text that is not UTF-8; Windows-1252 where nothing speaks for another."""
    sample = _sample(content)
    high = len(_HIGH.findall(sample))
    if high < HIGH_BYTES_MIN:
        return "cp1252"
    # Words of which most letters are ASCII are Latin; addresses and markup around them say nothing.
    words = b"".join(word for word in _WORD.findall(sample) if not word.isascii())
    if high * 2 < len(_LETTERS.findall(words)):
        return _latin_codec(sample)
    return _japanese_codec(sample) or _most_likely(sample, _OTHERS)


def _latin_codec(sample: bytes) -> str:
    western = sample.decode("cp1252", "replace")
    foreign = len(_FOREIGN.findall(western))
    if foreign + len(_RARE.findall(western)) < ODD_LETTERS_MIN:
        return "cp1252"
    if foreign >= ODD_LETTERS_MIN:
        if _ONLY_CP1250.search(sample):
            return "cp1250"
        if _ONLY_LATIN_2.search(sample):
            return "iso8859-2"
    return _most_likely(sample, _LATIN[1:] if foreign >= ODD_LETTERS_MIN else _LATIN)


def _japanese_codec(sample: bytes) -> str | None:
    """Japanese is never without kana, and nothing else has them."""
    for codec in ("euc_jp", "cp932"):
        text = sample.decode(codec, "replace")
        if text.count("\ufffd") <= 1 and len(_KANA.findall(text)) * 5 >= sum(
            1 for character in text if character > "\x7f"
        ):
            return codec
    return None


def _most_likely(sample: bytes, candidates: list[str]) -> str:
    best = from_bytes(sample, cp_isolation=candidates, preemptive_behaviour=False).best()
    return best.encoding if best is not None and best.encoding in candidates else "cp1252"


def escaped_codec(content: bytes) -> str | None:
    """The ISO 2022 variant whose escape sequences stand in text that claims to be something else."""
    if b"\x1b" not in content:
        return None
    if _KOREAN_ESCAPE in content[:SAMPLE_BYTES_MAX]:
        return "iso2022_kr"
    return "iso2022_jp_ms" if _JAPANESE_ESCAPE.search(content) else None


def sixteen_bit_codec(content: bytes) -> str | None:
    """UTF-16 without a byte order mark, known by where its zero bytes stand; None when it looks like no UTF-16."""
    sample = content[: SAMPLE_BYTES_MAX & ~1]
    if len(sample) < 4 or len(content) % 2:
        return None
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    pairs = len(sample) // 2
    if odd > even and odd * 10 >= pairs * 3 and even * 10 <= pairs:
        return "utf-16-le"
    return "utf-16-be" if even * 10 >= pairs * 3 and odd * 10 <= pairs else None


def _sample(content: bytes) -> bytes:
    """The first lines that hold anything beyond ASCII: what they are written in is the question."""
    lines: list[bytes] = []
    room = SAMPLE_BYTES_MAX
    at = 0
    while room > 0 and (found := _HIGH.search(content, at)):
        begin = max(content.rfind(b"\n", at, found.start()) + 1, found.start() - LINE_BYTES_BEFORE, at)
        line_end = content.find(b"\n", found.end(), begin + room)
        at = line_end if line_end >= 0 else begin + room
        lines.append(content[begin:at])
        room -= at - begin + 1
    return b"\n".join(lines)
