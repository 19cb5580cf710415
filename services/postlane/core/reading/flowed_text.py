"""text/plain; format=flowed (RFC 3676): lines that end in a blank are one paragraph."""


def join_flowed(text: str, *, del_sp: bool) -> str:
    """The paragraphs as single lines, quote marks kept as `> `; `del_sp` = the blanks at line ends are not part of the text."""
    out: list[str] = []
    open_depth: int | None = None  # quote depth of the paragraph that goes on
    for line in text.split("\n"):
        depth, content = _quote_depth(line)
        is_flowed = content.endswith(" ") and content != "-- "
        if open_depth == depth and content != "-- ":
            out[-1] += content
        else:
            out.append(f"{'>' * depth} {content}" if depth else content)
        if is_flowed and del_sp:
            out[-1] = out[-1][:-1]
        open_depth = depth if is_flowed else None
    return "\n".join(line if line == "-- " else line.rstrip(" ") for line in out)


def _quote_depth(line: str) -> tuple[int, str]:
    content = line.lstrip(">")
    return len(line) - len(content), content.removeprefix(" ")
