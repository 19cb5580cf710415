"""The words by which delivery failures and delays are known when no field says so: senders, subjects and sentences as weighed data.

Close to half of real bounces are no RFC 3464 reports (research: 45 of 100). One sign proves little: people quote bounces, and complain about
them. So each sign has a weight, and a mail is a bounce at `ENOUGH`. Sources: the texts of qmail, ezmlm, Exim, Postfix, sendmail, Exchange 5.5
to Online, Domino, GroupWise, hMailServer, MailEnable, IMail, Gmail, GMX, Yahoo, Mail.ru, Yandex, 163, Zoho, Mimecast, Amazon SES.
"""

import re
from dataclasses import dataclass

ENOUGH = 4


@dataclass(frozen=True, slots=True)
class Weighed:
    """A pattern and how much it proves; `lowered` finds the same in lower-case text, three times as fast."""

    pattern: re.Pattern[str]
    weight: int
    lowered: re.Pattern[str]


_ESCAPE_OR_CAPITAL = re.compile(r"\\.|[A-Z]")
# Letters that IGNORECASE takes for others than lower() does; where they stand, only `pattern` is right.
ODD_CASES = frozenset("İıſ\u1c80\u1c81\u1c82\u1c83\u1c84\u1c85\u1c86\u1c87\u1c88")


def _rule(weight: int, pattern: str) -> Weighed:
    lowered = _ESCAPE_OR_CAPITAL.sub(
        lambda found: found[0] if found[0].startswith("\\") else found[0].lower(), pattern
    )
    return Weighed(re.compile(pattern, re.IGNORECASE), weight, re.compile(lowered))


# The local part of From, or its name where there is no address. The first that fits counts.
SENDERS: tuple[Weighed, ...] = (
    _rule(4, r"^(?:mail|mailer)[-_. ]?daemon$|^mail[-_. ]?delivery[-_. ]?(?:sub)?(?:system|agent|service)$"),
    _rule(3, r"^microsoftexchange[0-9a-f]{16,}$|^mdaemon$"),
    _rule(2, r"^post[-_.]?master$|^mail(?:er|admin|system|server|gate|failure)?$|^smtp(?:d|gateway)?$"),
    _rule(
        1,
        r"^(?:no|non|do-?not)[-_.]?reply$|^system$|^administrator$|^admin$|^root$|^.*-(?:bounces|owner|admin|request|errors)$",
    ),
    _rule(
        1,
        r"^bounces?(?:[-+=].*)?$|^(?:owner|errors)-.*$|^(?:majordomo|listserv|listmaster|mailman|sympa)$|^support$",
    ),
)
# The name beside the address.
SENDER_NAMES: tuple[Weighed, ...] = (
    _rule(
        2,
        r"mail delivery (?:sub)?system|mail delivery (?:service|agent)|mail system|system administrator|systemadministrator",
    ),
    _rule(
        2,
        r"^post ?master|^mailer[- ]daemon|internet mail delivery|^microsoft (?:outlook|exchange)$|returned mail",
    ),
)
# Before a subject of the first kind may stand a tag of the filter on the way, [SPAM] say, but no Re: or Fwd:.
_LEAD = r"^\W*(?:\[[^\]]{1,30}\]\W*|\*{2,}[\w ]{1,20}\*{2,}\W*)?"
SUBJECTS: tuple[Weighed, ...] = (
    _rule(
        2,
        _LEAD
        + r"(?:undeliver|un-?deliver|returned (?:e-?)?mail|mail returned|failure notice|nondeliver|non[- ]deliver|"
        r"delivery[ -](?:status notification|failure|failed|error|problem|notification|has failed|report|unsuccessful|impossible)|"
        r"(?:e-?)?mail (?:delivery (?:fail|problem|error|system|status|notif|report|warning|impossible)|system error|failure|could not|not deliver)|"
        r"message (?:delivery (?:fail|problem|error)|undeliver|could(?: not|n't)|not delivered|status ?- ?undeliver|delivery notif|notification)|"
        r"(?:your )?(?:e-?mail|message)(?: \S+)? (?:could(?: not|n't) be|was(?: not|n't)|has not been|can(?: not|not|'t) be) (?:delivered|sent)|"
        r"could not (?:send|deliver)|unable to deliver|can(?:not|'t) deliver|error sending|there was an error sending|"
        r"rejected mail|mail rejected|user unknown|unknown user|unknown recipient|notification of (?:un|non)deliver|"
        r"delivery to the following|dsn: |warning: (?:e-?mail|message|could not)|permanent (?:delivery )?(?:error|failure)|"
        r"(?:\[?postmaster\]? )?e-?mail delivery (?:fail|notif|status)|non delivery|nachricht nicht zu|bounced? (?:mail|message)|mail bounce)",
    ),
    _rule(
        2,
        _LEAD
        + r"(?:unzustellbar|nicht zu(?:stellbar|gestellt)|zustellung (?:der|ihrer|fehlgeschlagen|nicht)|ihre (?:e-?mail|nachricht) .{0,40}nicht zugestellt|"
        r"fehler bei der (?:zustellung|nachrichten)|mailzustellung|zustell(?:ungs)?(?:fehler|problem)|non[- ](?:remis|distribu|livr)|"
        r"échec de (?:la )?(?:remise|distribution|livraison)|message non (?:remis|distribu|livr)|impossible de (?:remettre|distribuer)|avis de non[- ]remise|"
        r"no se (?:puede|pudo|ha podido) entregar|no entregad|imposible entregar|error (?:al|de|en la) ent(?:r|)ega|mensaje no entregado|devuelto|"
        r"mancato recapito|mancata consegna|non recapit|impossibile recapitare|messaggio non (?:recap|conse)|"
        r"onbestelbaar|niet (?:bezorgd|afgeleverd|bestelbaar)|aflevering mislukt|não (?:é possível entregar|entregue|foi entregue)|falha (?:na|de) entrega|"
        r"kan (?:inte|ikke) leverer?as?|olevererba|kunne ikke leveres|toimitus epäonnistui|ei voitu toimittaa|"
        r"nie (?:można|udało się) dostarczyć|niedostarcz|nie dostarczono|zwrot (?:poczty|wiadomości)|nedoručiteln|nelze doručit|nedorucitel|kézbesíthetetlen|nem kézbesíthető|"
        r"teslim edile|iletilemedi|nelivrat|недостав|не\s?достав|не удалось доставить|ваше сообщение не доставлено|возврат|невозможно доставить|"
        r"系统退信|退信|无法(?:传递|送达|投递)|未(?:传递|送达)|無法(?:傳遞|傳送|送達)|配信(?:不能|できません|エラー)|配送(?:不能|失敗|エラー)|送信(?:できません|エラー)|メール送信エラー|반송|전달되지|배달)",
    ),
    _rule(1, _LEAD + r"(?:delivery status|status of your|mail (?:error|status)|error|failed|bounce)"),
    _rule(3, r"^you \S+@\S+ are not member \("),  # fml
)
# Sentences of mail servers. Each that fits counts once, up to SENTENCES_WEIGHT_MAX.
SENTENCES_WEIGHT_MAX = 3
SENTENCES: tuple[Weighed, ...] = (
    _rule(
        2,
        r"(?:this is the|program at).{0,40}qmail-send|i'm afraid i wasn't able to deliver|sorry (?:that )?it didn't work out",
    ),
    _rule(
        2,
        r"created automatically by (?:the )?mail delivery (?:software|system)|message that you (?:have )?sent could not be delivered",
    ),
    _rule(
        2,
        r"this is the (?:mail|postfix|dragonfly|mail delivery)\b.{0,40}(?: at | host )|sorry to have to inform you that your message could not",
    ),
    _rule(
        2,
        r"(?<!-)-{3,} ?(?:the following addresses had|transcript of session follows|unsent message (?:follows|below))",
    ),
    _rule(
        2,
        r"did not reach (?:some or all of )?the (?:following|intended) recipient|following recipient\(?s?\)? (?:can|could)(?: not|not|n't) be reached",
    ),
    _rule(
        2,
        r"deliver[ey]*(?:y has failed)? to (?:the(?:se)? )?(?:following )?(?:recipient|address|group)s?.{0,40}(?:fail|abort|:)|failed permanently",
    ),
    _rule(
        2,
        r"(?:message|e-?mail|mail)(?: sent on:.{0,60})?\W+(?:to \S+ )?(?:could(?: not|n't)|can(?: not|not|'t)|was(?: not|n't)|has not been|is un|not)(?: be)? ?(?:successfully )?deliver",
    ),
    _rule(
        2,
        r"(?:was|is|could) (?:not (?:be )?delivered to|undeliverable to)|undeliverable to the following|unable to (?:be )?deliver|un-?deliver(?:able|ed) (?:mail|message)",
    ),
    _rule(
        2,
        r"error (?:occurred )?(?:while )?(?:trying to )?(?:sending|deliver(?:ing|y)?)|trouble deliver|problem(?:s)? (?:while )?deliver|failed to deliver|delivery (?:error|fail)",
    ),
    _rule(
        2,
        r"address (?:not found|you entered couldn't be found)|recipient (?:address )?(?:was )?(?:rejected|not (?:found|recognized))|invalid (?:user|recipient|address)",
    ),
    _rule(
        2,
        r"(?:user|recipient|mailbox|account|address)(?: name)?(?: is| was)? (?:unknown|not (?:found|recognized|known)|unavailable|disabled|does ?n.?t exist|inactive)",
    ),
    _rule(
        2,
        r"unknown (?:user|recipient|address)|no such (?:user|recipient|mailbox|address|person)|mail ?box (?:is )?(?:full|unavailable)|mailfolder is full|(?:over|exceeded) (?:his |her |their |the )?(?:disk )?quota",
    ),
    _rule(
        2,
        r"the original message was received at|original message (?:follows|headers)|copy of the (?:original )?message|(?<!-)-{3,} ?returned (?:mail|message)",
    ),
    _rule(
        2,
        r"(?:your|the) (?:e-?mail|message).{0,60}(?:rejected|refused|blocked|returned) by|returned to (?:the )?sender|message (?:was )?returned to you",
    ),
    _rule(
        2,
        r"konnte(?:n)? (?:leider )?nicht (?:zugestellt|erreicht|ausgeliefert)|nicht zustellbar|unzustellbar|(?:fehler|problem) bei der zustellung",
    ),
    _rule(
        2,
        r"n'a (?:pas )?pu être (?:remis|distribu|livr|délivr)|non (?:remis|distribué|délivré)|échec de la remise|impossible de (?:remettre|délivrer|distribuer)",
    ),
    _rule(
        2,
        r"no (?:se )?(?:pudo|ha podido|puede) (?:ser )?(?:entreg|envi)|não (?:pôde|foi possível|pode) .{0,30}entreg|no fue (?:posible )?entreg",
    ),
    _rule(
        2,
        r"impossibile (?:recapitare|consegnare)|non (?:è stato possibile|può essere|ha potuto) .{0,30}(?:recapit|consegn)|niet (?:worden )?(?:afgeleverd|bezorgd|bereikt)",
    ),
    _rule(
        2,
        r"не (?:удалось|удаётся|удается|может быть|было) доставлен?|недоставлен|nie (?:mogła|może|można|została) .{0,30}(?:dostarcz|doręcz)|nelze doručit|nebyla doručena",
    ),
    _rule(
        2,
        r"退信|无法(?:传递|送达|投递|到达)|無法(?:傳遞|傳送|送達)|配信(?:できません|不能)|(?:送信|配送|お届け)でき(?:ません|なかった)|見つかりません|ありません",
    ),
    _rule(4, r'"notificationType"\s*:\s*"Bounce"'),  # Amazon SNS by mail
)
SMTP_WORDS = re.compile(
    r"(?<![\d.])5[0-7]\d[ #:-]{1,3}[^\d\s€£$]|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.])|RCPT TO:|smtp (?:error|server)|remote (?:host|server) (?:said|returned)",
    re.IGNORECASE,
)

DELAY_SUBJECT = re.compile(
    r"\bdelay|warning: (?:could not send|message|e-?mail)|\bdelayed\b|verzöger|noch nicht zugestellt|retard|en attente|retras|ritard|vertraag|"
    r"not yet been delivered|still being retried|задерж|opóźni|遅延|延迟|延遲|delivery (?:is )?pending|temporar",
    re.IGNORECASE,
)
DELAY_SENTENCE = re.compile(
    r"(?:will|shall) (?:continue to (?:try|be)|keep (?:on )?trying|be (?:retried|attempted)|(?:be )?retr(?:y|ied))|still being retried|no action is required on your part|"
    r"you do not need to (?:resend|re-?send)|warning message only|has not yet been delivered|not (?:yet )?been delivered to one or more of its recipients after|"
    r"delivery attempts will continue|(?:has been|is being|was) delayed|is delayed|delivery (?:attempts )?(?:to (?:these|the following) recipients )?(?:has been|have been|is) delayed|"
    r"noch nicht zugestellt|weitere zustellversuche|wird weiterhin versucht|will (?:be )?(?:try|attempt)|transient non-fatal",
    re.IGNORECASE,
)
PERMANENT_SENTENCE = re.compile(
    r"permanent(?:ly)? (?:error|fatal|fail)|giving up|given up|failed permanently|fatal error|could not be delivered|cannot be delivered|"
    r"no further attempts|has failed|wird nicht mehr versucht|Action: failed",
    re.IGNORECASE,
)
# Where the server's own words end and the mail that it gives back begins: a line that says only this, without its rulers.
ORIGINAL_LINE = re.compile(
    r"(?:(?:this|here|below(?: this line)?|following|the following|included|attached)(?: below)? is |below this line is )?(?:a |the )?(?:copy|headers?|body|text|start|beginning)"
    r" of (?:the |your )?(?:original |returned |undelivered |rejected )?(?:message|mail|e-?mail)\b|"
    r"(?:the )?(?:original|returned|unsent|undelivered|bounced|failed|unreachable)[ -]?(?:e-?mail|message|mail)(?: headers?| text| body| contents?)?(?: follows?| below| header follows| attached)?$|"
    r"(?:original )?message headers?(?: follow| below)?|message header follows|received message$|nachrichtentext|ursprüngliche (?:nachricht|e-?mail)|original ?nachricht|"
    r"message d'origine|mensaje original|messaggio originale|исходное (?:письмо|сообщение)|原始邮件|元のメッセージ",
    re.IGNORECASE,
)
RULERS = " \t-=_*>+.:#~"
