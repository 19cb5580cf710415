"""The reply alone: a mail's text without the quoted thread below it and without the signature. Advisory; the full text stays beside it.

Answers written between quoted lines are kept together with what they answer.
"""

# ruff: noqa: RUF001 - words of other languages stand here in their own letters

import re

REPLY_LINES_MAX = 20_000  # longer texts are logs or dumps; they are returned whole
ATTRIBUTION_LINES_MAX = 4  # `On <date>, <name> <address> wrote:` wraps over a few lines
ATTRIBUTION_CHARACTERS_MAX = 400

# How mail programs announce a quote, by language; the line ends in a colon and the first names a date, or the last an address.
_WROTE = re.compile(
    r"(?:wrote|writes|schrieb|(?:schrieb|schreef|skrev) .{1,120}|\d{4}年.{1,300}>|a écrit|ha scritto|escribió|escreveu|schreef|skrev|kirjoitti|napisał(?:\(a\))?|"
    r"pisze|napsal(?:\(a\))?|írta|a scris|yazdı|написал(?:\(а\))?|пишет|έγραψε|写道|のメール|さんは書きました)\s*[:：]?\s*$",
    re.IGNORECASE,
)
_ATTRIBUTION_BEGIN = re.compile(
    r"^(?:(?:On|Am|Le|Il|El|Em|Op|Den|Dne|Dnia|W dniu|La data|Pe|В|Στις)\b.{0,60}\d|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{4}年)",
    re.IGNORECASE,
)
_ADDRESSED = re.compile(r"<?[^<>\s]{1,250}@[^<>\s]{1,250}>?")
_SEPARATOR = re.compile(
    r"^[-_ >]{0,40}(?:Original Message|Forwarded message|Ursprüngliche Nachricht|Weitergeleitete Nachricht|Message d'origine|"
    r"Message transféré|Messaggio originale|Mensaje original|Mensagem original|Oorspronkelijk bericht|"
    r"Originalmeddelande|Oprindelig meddelelse|Oryginalna wiadomość|Původní zpráva|Исходное сообщение|原始邮件)[-_ ]{0,40}$",
    re.IGNORECASE,
)
_RULE = re.compile(r"^[ \t]*(?:_{10,80}|-{10,80})[ \t]*$")
_HEADER_FROM = re.compile(
    r"^[*>\s]{0,8}(?:From|Von|De|Da|Van|Från|Fra|Od|Lähettäjä|От|发件人|差出人)\s?[:：]\*?\s", re.IGNORECASE
)
_HEADER_NEXT = re.compile(
    r"^[*>\s]{0,8}(?:Sent|Date|To|Subject|Gesendet|Datum|An|Betreff|Envoyé|Date|À|Objet|Inviato|Data|A|Oggetto|Enviado|Fecha|"
    r"Para|Asunto|Assunto|Verzonden|Aan|Onderwerp|Skickat|Till|Ämne|Sendt|Til|Emne|Wysłano|Do|Temat|Отправлено|Кому|Тема|"
    r"发送时间|收件人|主题|送信日時|宛先|件名)\s?[:：]",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(r"^--[ \t]?$")
_QUOTED = re.compile(r"^[ \t]{0,3}[>|]")


def trim_reply(text: str) -> str:
    """The newest words of a mail; the whole text where nothing would be left."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > REPLY_LINES_MAX:
        return text
    kept = _without_quote_block(lines)
    kept = _without_trailing_quotes(kept)
    kept = _without_signature(kept)
    reply = "\n".join(kept).strip()
    return reply or text.strip()


def _without_quote_block(lines: list[str]) -> list[str]:
    """Cut at the first line below which programs put the old thread without marking its lines."""
    for index, line in enumerate(lines):
        if _SEPARATOR.match(line) or _is_header_block(lines, index):
            cut = index
            while cut and (not lines[cut - 1].strip() or _RULE.match(lines[cut - 1])):
                cut -= 1
            return lines[:cut]
        begin = _attribution_begin(lines, index)
        if begin is not None and not _quote_follows(lines, index) and begin > 0:
            return lines[:begin]
    return lines


def _is_header_block(lines: list[str], index: int) -> bool:
    """`From: ... Sent: ...`, as Outlook puts it before the quoted mail."""
    if not _HEADER_FROM.match(lines[index]):
        return False
    return sum(1 for line in lines[index + 1 : index + 5] if _HEADER_NEXT.match(line)) >= 2


def _attribution_begin(lines: list[str], index: int) -> int | None:
    """Where the attribution that ends on this line begins; None when it is none."""
    line = lines[index].rstrip()
    if len(line) > ATTRIBUTION_CHARACTERS_MAX or not _WROTE.search(line):
        return None
    for begin in range(index, max(index - ATTRIBUTION_LINES_MAX, -1), -1):
        if not lines[begin].strip():
            break
        if _ATTRIBUTION_BEGIN.match(lines[begin].lstrip("> \t")):
            return begin
    return index if _ADDRESSED.search(line) else None


def _quote_follows(lines: list[str], index: int) -> bool:
    following = next((line for line in lines[index + 1 :] if line.strip()), "")
    return bool(_QUOTED.match(following))


def _without_trailing_quotes(lines: list[str]) -> list[str]:
    """Drop the last block of quoted lines with its attribution; quotes with an answer below them stay."""
    end = _end_of_words(lines, len(lines))
    signature = next((i for i in range(end - 1, max(end - 30, -1), -1) if _SIGNATURE.match(lines[i])), None)
    last = end if signature is None else _end_of_words(lines, signature)
    begin = last
    while begin and (_QUOTED.match(lines[begin - 1]) or not lines[begin - 1].strip()):
        begin -= 1
    if begin == last:
        return lines[:end]
    attribution = _attribution_begin(lines, begin - 1) if begin else None
    return lines[: begin if attribution is None else attribution]


def _end_of_words(lines: list[str], end: int) -> int:
    while end and not lines[end - 1].strip():
        end -= 1
    return end


def _without_signature(lines: list[str]) -> list[str]:
    """Drop what follows the last `-- ` line (RFC 3676 section 4.3) unless quoted text stands below it."""
    for index in range(len(lines) - 1, -1, -1):
        if _QUOTED.match(lines[index]):
            return lines
        if _SIGNATURE.match(lines[index]):
            return lines[:index]
    return lines
