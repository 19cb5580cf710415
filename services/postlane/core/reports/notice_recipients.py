"""Recipients and reasons in the free text of a delivery failure: what each family of servers writes, read by its form.

form                                                        written by
`<ann@example.org>:` and lines of reason                    qmail, ezmlm, Postfix, Yahoo, Gmail of old
an indented address, then deeper lines of reason            Exim, GMX, Mail.ru, Google
`ann@example.org on Thu, 29 Apr ...`, reason below          Exchange 5.5 to 2003
`Ann (ann@example.org)<mailto:ann@example.org>`             Exchange 2007 to Online
`was not delivered to:`, address, `because:`, reason        Domino
`Recipient: [SMTP:ann@example.org]`, `Reason: ...`          MailEnable, Sun Messaging Server
`550 ann@example.org... User unknown`                       sendmail, McAfee
a sentence with the address in it                           DragonFly, GroupWise, Yandex, 163 and whatever is not known

A line that begins with an address opens an entry, whose reason is what follows until the next address or two paragraphs later. Where no line
does, addresses in sentences count. The sender's own addresses never do.
"""

import re
from collections.abc import Collection

from postlane.core.reports.report import ReportedRecipient

RECIPIENTS_MAX = 50  # more is a list server's digest of failures, or an attack
DIAGNOSTIC_CHARACTERS_MAX = 500
REASON_LINES_MAX = 8
LINE_CHARACTERS_MAX = 1000

_ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,10}[A-Za-z][A-Za-z0-9-]{1,62}"
# What may stand before an address that opens a line: quotes, bullets, a label, a name in front of brackets, sendmail's reply code.
_LABEL = r"(?:original |failed |e-?mail |recipient )?(?:recipient|address|to|e-?mail|rcpt to)s?(?: address)?|empfänger|destinatario|destinataire"
_OPENING = re.compile(
    rf"^[\s>*•+-]{{0,20}}(?:(?:{_LABEL})\s*:\s*)?(?:[45]\d\d[ -](?:[45]\.\d\.\d )?)?(?:\[?(?:smtp|rfc822|mailto)[:;]\s?)?"
    rf"""(?:"[^"\n]{{0,80}}"\s*|'[^'\n]{{0,80}}'\s*\(|[\w .,-]{{1,60}}\()?[<\['"(]{{0,2}}({_ADDRESS})[>\]'")]{{0,2}}(?P<rest>.*)$""",
    re.IGNORECASE,
)
_ANYWHERE = re.compile(rf"(?<![A-Za-z0-9._%+@-])({_ADDRESS})")
_FAILING = re.compile(
    r"deliver|not |un(?:able|known)|fail|reject|error|invalid|exist|full|quota|disabled|[45]\d\d|недост|доставл|zugestellt|退|无法|無法|拒|未|収件|收件|ありません",
    re.IGNORECASE,
)
_LABELS_OF_THE_MAIL = re.compile(
    r"^\s*(?:from|sender|reply-to|message-id|subject|date|sent|cc|return-path|received|mail from|x-[\w-]+|absender|von)\s*:",
    re.IGNORECASE,
)
ENHANCED = re.compile(r"(?<![\w.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)")
REPLY_CODE = re.compile(r"(?<![\w.-])([45]\d\d)(?=[ \-#:,;)\]'\"]|$)(?![ -]?\d\d)")


def read_recipients(text: str, strangers_to_it: Collection[str]) -> tuple[ReportedRecipient, ...]:
    """The recipients whom a server's words name; `strangers_to_it` are addresses that cannot be meant, in lower case, such as who gets the notice."""
    lines = [line[:LINE_CHARACTERS_MAX] for line in text.splitlines()]
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    blanks = 0
    for line in lines:
        opened = None if _LABELS_OF_THE_MAIL.match(line) else _OPENING.match(line)
        if opened and opened[1].lower() not in strangers_to_it:
            current = found.setdefault(opened[1], [])
            current.append(opened["rest"].strip(" :,;.-"))
            blanks = 0
        elif not line.strip():
            blanks += 1
        elif current is not None and blanks < 2 and len(current) <= REASON_LINES_MAX:
            current.append(line.strip())
    if not found:
        found = _in_sentences(lines, strangers_to_it)
    return tuple(
        _recipient(address, reason, text, only=len(found) == 1)
        for address, reason in list(found.items())[:RECIPIENTS_MAX]
    )


def codes_in(words: str) -> tuple[str | None, int | None]:
    """The enhanced code and the reply code that words name first."""
    enhanced = ENHANCED.search(words)
    code = REPLY_CODE.search(words)
    return enhanced and enhanced[1], int(code[1]) if code else None


def _in_sentences(lines: list[str], strangers_to_it: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        if _LABELS_OF_THE_MAIL.match(line) or not _FAILING.search(line):
            continue
        for match in _ANYWHERE.finditer(line):
            if match[1].lower() not in strangers_to_it:
                found.setdefault(match[1], []).append(line.strip())
    return found


def _recipient(address: str, reason: list[str], text: str, *, only: bool) -> ReportedRecipient:
    words = " ".join(" ".join(reason).split())
    status, code = codes_in(words)
    if status is None and only:  # nobody else can be meant by what stands elsewhere in the notice
        line = next((line for line in text.splitlines() if ENHANCED.search(line)), "")
        status = codes_in(line)[0]
        words = words or line.strip()
    if code is None and only:
        line = next((line for line in text.splitlines() if REPLY_CODE.search(line)), "")
        code = codes_in(line)[1]
        words = words or line.strip()
    return ReportedRecipient(
        address=address, status=status, smtp_code=code, diagnostic=words[:DIAGNOSTIC_CHARACTERS_MAX]
    )
