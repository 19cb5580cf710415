"""How mail programs mark what a writer did not write: attributions, separators, header blocks and device signatures, by language.

The words are those of Outlook, Gmail, Apple Mail, Thunderbird, Yahoo, Zimbra and of phones.
"""

# ruff: noqa: RUF001 - words of other languages stand here in their own letters

import re

_VERBS = (
    r"wrote|writes|schrieb|a [ée]crit|ha scritto|escribió|va escriure|escreveu|schreef|skrev|kirjoitti|kirjutas|"
    r"napisał(?:\(a\)|a)?|pisze|napsala?(?:\(a\))?|napísala?(?:\(a\))?|írta|a scris|(?:şunu |şunları )?yazdı|"
    r"(?:je )?napisa[ol](?:/la|la|\(la\))?|је написао(?:/ла)?|написала?(?:\(а\))?|пишет|пише|написав(?:\(-ла\))?|написа|έγραψε|"
    r"(?:het )?volgende geschreven|rašė|rakstīja|đã viết|menulis|写道|寫道|のメール|さんは書きました|님이 작성|작성|เขียน(?:ว่า)?|כתב(?:/ה|ה)?|كتب"
)
_VERB_AT_END = re.compile(rf"(?:{_VERBS})\s*[:：]?\s*$", re.IGNORECASE)
VERB_CHARACTERS_MAX = 40  # the longest verb with its colon
# In German, Dutch and Scandinavian the verb stands before the writer's name.
_VERBS_BEFORE = (" schrieb ", " schreef ", " skrev ")
_JAPANESE_DATE = re.compile(r"\d{4}年.{1,300}>\s*[:：]?\s*$")
# The last characters of the lines that announce a quote: most lines need no closer look.
WROTE_ENDINGS = (
    ":", "：", ">", "wrote", "schrieb", "crit", "scritto", "escribió", "escreveu", "schreef", "skrev", "道", "メール", "ました",
)  # fmt: skip
_WROTE_LAST = frozenset(ending[-1] for ending in WROTE_ENDINGS)
ADDRESS_ENDINGS = (">:", ">：", ">)")
COLON, WIDE_COLON = ":", "："
# Gmail in Russian, Polish, Czech: a date and an address, then a colon, and no verb at all.
DATED_ADDRESS = re.compile(r"\d{1,2}[:.]\d\d.{0,200}<\s?[^<>\s]{1,250}@[^<>\s]{1,250}>\s*(?:sent)?\s*[:：]$")
# Gmail of old: a day, a name and an address; only above quoted lines.
DATED_SENDER = re.compile(r"\d{4}[/-]\d{1,2}[/-]\d{1,2} .{1,150}<[^<>\s]{1,250}@[^<>\s]{1,250}>$")
ATTRIBUTION_BEGIN = re.compile(
    r"^(?:(?:On|Am|Le|Il(?: giorno)?|El|Em|Op|Den|Dne|Dnia|W dniu|La data|Pe|В|Στις|Na|A|U|V|Vào|At)(?=[\s,]).{0,60}\d|"
    r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{4}年|\w{2,12}\.?,? \d{1,2}\.? \w{3,12}\.?,? \d{4})",
    re.IGNORECASE,
)
ADDRESSED = re.compile(r"<?[^<>\s]{1,250}@[^<>\s]{1,250}>?")

_ORIGINALS = (
    r"Original Message|Original Mail|Original-Nachricht|Originalnachricht|Forwarded message|Ursprüngliche (?:Nachricht|Mail|E-Mail)|"
    r"Weitergeleitete Nachricht|Message d['’]origine|Message original|Mail original|Message transféré|Messaggio (?:originale|inoltrato)|"
    r"Mensaje (?:original|reenviado)|Mensagem (?:original|encaminhada)|Oorspronkelijk bericht|Doorgestuurd bericht|Originalmeddelande|"
    r"Ursprungligt meddelande|Vidarebefordrat meddelande|Oprindelig (?:meddelelse|besked)|Opprinnelig melding|Alkuperäinen viesti|"
    r"Oryginalna wiadomość|Wiadomość oryginalna|Treść przekazanej wiadomości|Původní zpráva|Pôvodná správa|Eredeti üzenet|"
    r"Mesaj original|Mesajul original|Orijinal (?:mesaj|ileti)|Исходное сообщение|Пересылаемое сообщение|Оригінальне повідомлення|"
    r"Оригинално съобщение|Αρχικό μήνυμα|原始邮件|原始郵件|转发邮件|元のメッセージ|원본 메시지|원본 이메일"
)
_FORWARD_BEGINS = (
    r"Begin forwarded message|Anfang der weitergeleiteten Nachricht|Début du message (?:transféré|réexpédié)|Inizio messaggio inoltrato|"
    r"Inicio del mensaje reenviado|Begin doorgestuurd bericht|Início da mensagem encaminhada|Vidarebefordrat brev|Początek przekazywanej wiadomości|"
    r"Начало переадресованного сообщения"
)
_ABOVE_THIS_LINE = (
    r"please (?:type your )?reply above this line|type your reply above this line|reply above this line|"
    r"bitte (?:antworten sie )?(?:oberhalb|über) dieser (?:linie|zeile)|répondez au-dessus de cette ligne|responda por encima de esta línea"
)
_SEPARATOR = re.compile(
    rf"^(?:[-_=>\s*]{{0,40}}(?:{_ORIGINALS})[-_=\s*]{{0,40}}:?|[>\s]{{0,8}}(?:{_FORWARD_BEGINS})\s?[:：]|"
    rf"[-#=\s]{{0,20}}(?:{_ABOVE_THIS_LINE}).{{0,40}})$",
    re.IGNORECASE,
)
# How the separators above begin behind their dashes: few lines of ordinary mail do, and the others need no closer look.
_SEPARATOR_LEAD = "-_=>#*\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
_WROTE_IN_DASHES = re.compile(r"-{3,10} ?\S.{0,200} wrote ?-{3,10}")  # Zoho, Android
_SEPARATOR_HEAD = 4  # characters; no group or choice of letters may begin among them
_SEPARATOR_HEADS = frozenset(
    words[:_SEPARATOR_HEAD].lower()
    for words in f"{_ORIGINALS}|{_FORWARD_BEGINS}|{_ABOVE_THIS_LINE}".split("|")
)
# What lower() gives for letters that IGNORECASE takes for others: the dot of the Turkish İ in ORİJİNAL, and rare forms of letters.
_ODD_CASES = frozenset("\u0307ıſϱ\u0345\u1fbe\u1c82\u1c83")
RULE = re.compile(r"^[ \t]*(?:_{10,80}|-{10,80})[ \t]*$")
HEADER_FROM = re.compile(
    r"^[*>\s]{0,8}(?:From|Von|De la|De|Da|Van|Från|Fra|Od|Lähettäjä|Saatja|Feladó|Kimden|Gönderen|От|Від|Από|Απο|Absender|Expéditeur|"
    r"Mittente|Remitente|发件人|發件人|寄件者|差出人|보낸 사람|מאת|من)\*?\s?[:：]\*?\s",
    re.IGNORECASE,
)
HEADER_NEXT = re.compile(
    r"^[*>\s]{0,8}(?:Sent|Date|To|Cc|Subject|Gesendet|Datum|An|Betreff|Kopie|Envoyé(?: le)?|À|A|Objet|Inviato|Data|Oggetto|"
    r"Enviado(?: el)?|Enviada(?: em)?|Fecha|Para|Asunto|Assunto|Verzonden|Aan|Onderwerp|Skickat|Till|Ämne|Sendt|Dato|Til|Emne|"
    r"Wysłano|Wysłane|Do|Temat|DW|Odesláno|Komu|Předmět|Odoslané|Predmet|Lähetetty|Vastaanottaja|Aihe|Elküldve|Címzett|Tárgy|Trimis|Către|"
    r"Subiect|Tarih|Gönderildi|Kime|Konu|Отправлено|Дата|Кому|Тема|Копия|Надіслано|Στάλθηκε|Προς|Θέμα|发送时间|日期|收件人|主题|主旨|傳送時間|"
    r"送信日時|宛先|件名|보낸 날짜|받는 사람|제목|נשלח|אל|נושא|تاريخ|إلى|الموضوع)\*?\s?[:：]",
    re.IGNORECASE,
)
HEADER_NAME_CHARACTERS_MAX = 30  # of the marks before it, the longest name above and the colon
WRAPPED_ENDS = (">:", ">：")  # the last of an attribution whose address reached to the end of the line above
SIGNATURES = frozenset({"--", "-- ", "--\t"})
_QUOTED_INDENTED = re.compile(r"[ \t]{1,3}[>|]")
# What phones and mail programs put below every mail.
DEVICE = re.compile(
    r"^[*_ ]{0,3}(?:Sent (?:from|via|with|using) .{2,60}|Get \[?Outlook for .{2,60}|(?:Von|Gesendet von|Gesendet mit|Gesendet aus|Diese Nachricht wurde von) "
    r".{2,60}|Hol(?:en Sie sich|e dir) Outlook für .{2,40}|Outlook für \w+ beziehen.{0,80}|Envoyé (?:de(?:puis)?|à partir de|avec|via) .{2,60}|"
    r"(?:Obtenir|Télécharger) Outlook pour .{2,40}|Enviado (?:desde|do|de|a partir d[eo]|com) .{2,60}|Obtener Outlook para .{2,40}|"
    r"Obter o Outlook para .{2,40}|Inviato (?:da|dal|con|tramite) .{2,60}|Ottieni Outlook per .{2,40}|(?:Verstuurd|Verzonden) (?:vanaf|vanuit|met|via|van) "
    r".{2,60}|(?:Outlook voor|Download Outlook voor) .{2,40}|Wysłan[eo] z .{2,60}|Pobierz program Outlook .{2,40}|Отправлено (?:с|из|со) .{2,60}|"
    r"Надіслано з .{2,60}|Skickat från .{2,60}|Sendt fra .{2,60}|Hämta Outlook för .{2,40}|Lähetetty .{2,60}|Odesláno z .{2,60}|Odoslané z .{2,60}|"
    r"Trimis (?:de pe|din) .{2,60}|Küldve .{2,60}|\S{1,20}['’]?(?:dan|den|ımdan|imden) gönderildi|iPhoneから送信|发自我的.{1,40}|從我的.{1,40}傳送|"
    r"나의 .{1,40}에서 보냄)[*_ ]{0,3}$",
    re.IGNORECASE,
)
_DEVICE_VON = re.compile(r"^(?:Von|Diese Nachricht wurde von)\b(?!.*\bgesendet\b)", re.IGNORECASE)
DEVICE_CHARACTERS_MAX = 140
# A writer who says so has answered inside the quoted mail, where nothing but colour may tell the answers.
ANSWERS_INSIDE = re.compile(
    r"\b(?:(?:see|answers?|answered|comments?|replies|reply|responses?)\b.{0,40}\b(?:below|in[- ]?line|in red|in blue)|"
    r"(?:siehe unten|s\. ?u\.|(?:antwort(?:en)?|kommentare?|anmerkungen)\b.{0,40}\b(?:unten|im text|in rot|in blau|inline))|"
    r"(?:réponses?|voir|commentaires?)\b.{0,40}\b(?:ci-dessous|en rouge|en bleu|dans le texte)|"
    r"(?:respuestas?|ver|comentarios?)\b.{0,40}\b(?:abajo|más abajo|en rojo|en azul)|(?:risposte|vedi)\b.{0,40}\b(?:sotto|in rosso)|"
    r"(?:antwoorden|zie)\b.{0,40}\b(?:hieronder|in rood))",
    re.IGNORECASE,
)


def is_wrapped_attribution(above: str, line: str) -> bool:
    """Whether two lines are `Max <max@example.org> schrieb am Fr., 28.` and `Apr. 2017 um 11:53 Uhr:`."""
    return (
        line.endswith((COLON, WIDE_COLON))
        and any(verb in above for verb in _VERBS_BEFORE)
        and bool(ADDRESSED.search(above))
    )


def announces_quote(line: str) -> bool:
    """Whether a line ends as attributions do: `... wrote:`."""
    if _VERB_AT_END.search(line[-VERB_CHARACTERS_MAX:]):
        return True
    if any(verb in line for verb in _VERBS_BEFORE):
        return line.rstrip().endswith((COLON, WIDE_COLON, ">"))
    return "年" in line and bool(_JAPANESE_DATE.search(line))


def lines_of_programs(lines: list[str]) -> list[int]:
    """Which lines could stand between a mail and the one that it answers: few do, so all are sifted by what costs least."""
    return [
        index
        for index, line in enumerate(lines)
        if line
        and (
            (head := line.lstrip(_SEPARATOR_LEAD)[:_SEPARATOR_HEAD].lower()) in _SEPARATOR_HEADS
            or line[-1] in _WROTE_LAST
            or COLON in (begin := line[:HEADER_NAME_CHARACTERS_MAX])
            or line[-1].isspace()
            or (line[-1] == "-" == line[0])
            or not (line.isascii() or (WIDE_COLON not in begin and _ODD_CASES.isdisjoint(head)))
        )
    ]


def is_separator(line: str) -> bool:
    """Whether a line is what programs put between a mail and the one that it answers or forwards."""
    if line.startswith("---") and line.endswith("---") and _WROTE_IN_DASHES.fullmatch(line):
        return True
    head = line.lstrip(_SEPARATOR_LEAD)[:_SEPARATOR_HEAD].lower()
    return (head in _SEPARATOR_HEADS or not _ODD_CASES.isdisjoint(head)) and bool(_SEPARATOR.match(line))


def may_be_header(line: str) -> bool:
    """Whether a line has its colon where `From:` and the like have it."""
    begin = line[:HEADER_NAME_CHARACTERS_MAX]
    return COLON in begin or WIDE_COLON in begin


def is_quoted(line: str) -> bool:
    """Whether a line is marked as a quote, at most three blanks from the left."""
    return line.startswith((">", "|")) or (
        line.startswith((" ", "\t")) and bool(_QUOTED_INDENTED.match(line))
    )


def is_device_line(line: str) -> bool:
    """Whether a line is what a phone or a program puts below every mail."""
    return len(line) <= DEVICE_CHARACTERS_MAX and bool(DEVICE.match(line)) and not _DEVICE_VON.match(line)
