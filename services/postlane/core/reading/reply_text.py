"""The reply alone: a mail's text without the quoted thread below it and without the signature. Advisory; the full text stays beside it.

Answers written between quoted lines are kept together with what they answer.
"""

from postlane.core.reading.reply_signs import (
    ADDRESS_ENDINGS,
    ADDRESSED,
    ANSWERS_INSIDE,
    ATTRIBUTION_BEGIN,
    DATED_ADDRESS,
    DATED_SENDER,
    HEADER_FROM,
    HEADER_NEXT,
    RULE,
    SIGNATURES,
    WRAPPED_ENDS,
    WROTE_ENDINGS,
    announces_quote,
    is_device_line,
    is_quoted,
    is_separator,
    is_wrapped_attribution,
    lines_of_programs,
    may_be_header,
)

REPLY_LINES_MAX = 20_000  # longer texts are logs or dumps; they are returned whole
LINE_CHARACTERS_MAX = 400  # nothing that programs write between mails is longer
ATTRIBUTION_LINES_MAX = 4  # `On <date>, <name> <address> wrote:` wraps over a few lines
SIGNATURE_LINES_MAX = 40  # below a bare `--`; what is longer was meant as a rule in the text
OPENING_CHARACTERS_MAX = 1500  # where writers say that they answered inside the quoted mail


def trim_reply(text: str) -> str:
    """The newest words of a mail; the whole text where nothing would be left."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > REPLY_LINES_MAX:
        return text
    kept = _without_quote_block(lines)
    if len(kept) < len(lines) and ANSWERS_INSIDE.search("\n".join(kept)[:OPENING_CHARACTERS_MAX]):
        return text.strip()
    kept = _without_trailing_quotes(kept)
    kept = _without_signature(kept)
    reply = "\n".join(kept).strip()
    return reply or text.strip()


def _without_quote_block(lines: list[str]) -> list[str]:
    """Cut at the first line below which programs put the old thread without marking its lines."""
    for index in lines_of_programs(lines):
        line = lines[index]
        if len(line) > LINE_CHARACTERS_MAX:
            continue
        if may_be_header(line) and _is_header_block(lines, index):
            return lines[: _above(lines, index)]
        if is_separator(line):
            return lines[: _above(lines, index)]
        begin = _attribution_begin(lines, index)
        if begin is not None and begin > 0 and not _quote_follows(lines, index):
            return lines[:begin]
    return lines


def _above(lines: list[str], index: int) -> int:
    """Where what stands above a cut ends: rules and empty lines belong to what is cut off."""
    while index and (not lines[index - 1].strip() or RULE.match(lines[index - 1])):
        index -= 1
    return index


def _is_header_block(lines: list[str], index: int) -> bool:
    """`From: ... Sent: ...`, as Outlook puts it before the quoted mail; below a rule in any order."""
    is_from = bool(HEADER_FROM.match(lines[index]))
    if not is_from and not (HEADER_NEXT.match(lines[index]) and index and RULE.match(lines[index - 1])):
        return False
    following = [line for line in lines[index + 1 : index + 9] if line.strip()][:4]
    names_sender = is_from or any(HEADER_FROM.match(line) for line in following)
    return names_sender and sum(1 for line in following if HEADER_NEXT.match(line)) >= (2 if is_from else 1)


def _attribution_begin(lines: list[str], index: int) -> int | None:
    """Where the attribution that ends on this line begins; None when it is none."""
    line = lines[index].rstrip()
    if not line.endswith(WROTE_ENDINGS) or len(line) > LINE_CHARACTERS_MAX:
        return None
    is_wrapped = line.endswith(ADDRESS_ENDINGS) and index > 0 and "<" not in line
    if is_wrapped:
        line = f"{lines[index - 1].rstrip()} {line}"  # the address has wrapped
    if not announces_quote(line):
        if DATED_ADDRESS.search(line):
            return index - is_wrapped
        return index - 1 if index and is_wrapped_attribution(lines[index - 1], line) else None
    for begin in range(index, max(index - ATTRIBUTION_LINES_MAX, -1), -1):
        if not lines[begin].strip():
            break
        if ATTRIBUTION_BEGIN.match(lines[begin].lstrip("> \t")):
            return begin
    return index if ADDRESSED.search(line) else None


def _quote_follows(lines: list[str], index: int) -> bool:
    following = next((line for line in lines[index + 1 :] if line.strip()), "")
    return is_quoted(following)


def _without_trailing_quotes(lines: list[str]) -> list[str]:
    """Drop the last block of quoted lines with its attribution; quotes with an answer below them stay."""
    end = _end_of_words(lines, len(lines))
    if end and is_quoted(lines[end - 1]):
        return _without_quotes_above(lines, end, end)
    signature = next((i for i in range(end - 1, max(end - 30, -1), -1) if lines[i] in SIGNATURES), None)
    last = end if signature is None else _end_of_words(lines, signature)
    while last and is_device_line(lines[last - 1]):
        last = _end_of_words(lines, last - 1)
    return _without_quotes_above(lines, last, end)


def _without_quotes_above(lines: list[str], last: int, end: int) -> list[str]:
    """Without the quoted lines that end at `last`, what announces them, and what follows; else all up to `end`."""
    begin = last
    while begin and (not lines[begin - 1].strip() or is_quoted(lines[begin - 1])):
        if _ends_attribution(lines, begin - 1):
            break
        begin -= 1
    if begin == last:
        return lines[:end]
    attribution = _attribution_begin(lines, begin - 1) if begin else None
    if begin and attribution is None and DATED_SENDER.match(lines[begin - 1].strip()):
        attribution = begin - 1
    return lines[: begin if attribution is None else attribution]


def _ends_attribution(lines: list[str], index: int) -> bool:
    """Whether a line is what was left of an attribution's address: `>:` alone, and no quoted colon."""
    return (
        lines[index].rstrip() in WRAPPED_ENDS
        and index > 0
        and "<" in lines[index - 1]
        and not is_quoted(lines[index - 1])
    )


def _end_of_words(lines: list[str], end: int) -> int:
    while end and not lines[end - 1].strip():
        end -= 1
    return end


def _without_signature(lines: list[str]) -> list[str]:
    """Drop what follows the last `-- ` line (RFC 3676 section 4.3) unless quoted text stands below it, then device signatures."""
    end = len(lines)
    for index in () if SIGNATURES.isdisjoint(lines) else range(len(lines) - 1, -1, -1):
        if is_quoted(lines[index]):
            break
        if lines[index] in SIGNATURES:
            is_marked = lines[index] == "-- " or len(lines) - index <= SIGNATURE_LINES_MAX
            end = index if is_marked else end
            break
    end = _end_of_words(lines, end)
    while end and is_device_line(lines[end - 1]):
        end = _end_of_words(lines, end - 1)
    return lines[:end]
