"""text/plain; format=flowed (RFC 3676): lines that end in a blank are one paragraph."""

SIGNATURE = "-- "  # never flowed (RFC 3676 section 4.3)


def join_flowed(text: str, *, del_sp: bool) -> str:
    """The paragraphs as single lines, quote marks kept as `> `; `del_sp` = the blanks at line ends are not part of the text."""
    paragraphs: list[list[str]] = []
    open_depth: int | None = None  # quote depth of the paragraph that goes on
    for line in text.split("\n"):
        depth, content = _quote_depth(line)
        is_flowed = content.endswith(" ") and content != SIGNATURE
        piece = content[:-1] if is_flowed and del_sp else content
        if open_depth == depth and content != SIGNATURE:
            paragraphs[-1].append(piece)
        else:
            paragraphs.append([f"{'>' * depth} {piece}" if depth else piece])
        open_depth = depth if is_flowed else None
    lines = ("".join(pieces) for pieces in paragraphs)
    return "\n".join(line if line == SIGNATURE else line.rstrip(" ") for line in lines)


def _quote_depth(line: str) -> tuple[int, str]:
    content = line.lstrip(">")
    return len(line) - len(content), content.removeprefix(" ")
