"""ISO-2022-JP as mail has it: with the vendor characters, half-width katakana and cut sequences that Python's codecs refuse."""

import re

_ESCAPE = re.compile(rb"\x1b(?:\$[@B]|\([BJI]|\$\([DQOP]|\$A|[\x20-\x2f]{0,3}[\x30-\x7e])")


def decode_iso2022_jp(content: bytes) -> tuple[str, bool]:
    """The text, and whether every byte could be read. Vendor rows are read as Windows-31J does (CP50221)."""
    try:
        return content.decode("iso2022_jp_ext"), True
    except UnicodeDecodeError:
        pass
    pieces: list[str] = []
    state = b"\x1b(B"
    at = 0
    whole = True
    for escape in _ESCAPE.finditer(content):
        whole = _append(pieces, state, content[at : escape.start()]) and whole
        state, at = escape[0], escape.end()
    whole = _append(pieces, state, content[at:]) and whole
    return "".join(pieces), whole


def _append(pieces: list[str], state: bytes, run: bytes) -> bool:
    match state:
        case b"\x1b$B" | b"\x1b$@":
            text = _double_byte(run)
        case b"\x1b(I":
            text = bytes(byte | 0x80 if 0x21 <= byte <= 0x5F else byte for byte in run).decode(
                "cp932", "replace"
            )
        case b"\x1b(B" | b"\x1b(J":
            text = run.decode("cp932", "replace")
        case _:
            text = (state + run).decode("iso2022_jp_ext", "replace")
    pieces.append(text)
    return "\ufffd" not in text


def _double_byte(run: bytes) -> str:
    """JIS pairs moved to where Windows-31J has them; line ends inside a run end no sequence in broken mail."""
    moved = bytearray()
    at = 0
    while at < len(run):
        lead = run[at]
        trail = run[at + 1] if at + 1 < len(run) else 0
        if not (0x21 <= lead <= 0x7E and 0x21 <= trail <= 0x7E):
            moved.append(lead)
            at += 1
            continue
        moved.append((lead + 1) // 2 + (0x70 if lead < 0x5F else 0xB0))
        moved.append(trail + (0x7E if lead % 2 == 0 else 0x20 if trail >= 0x60 else 0x1F))
        at += 2
    return bytes(moved).decode("cp932", "replace")
