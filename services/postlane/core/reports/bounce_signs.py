"""Whether a mail is a delivery failure or delay that no field declares: weighed signs, and the words that decided.

What a sender is called, an empty reverse path, the subject and the server's sentences each count. Sentences alone never suffice, because people
quote them when they ask what they mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from postlane.core.reading.mail_signs import AUTO_REPLY_SUBJECT
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.reports.bounce_phrases import (
    DELAY_SENTENCE,
    DELAY_SUBJECT,
    ENOUGH,
    ODD_CASES,
    ORIGINAL_LINE,
    PERMANENT_SENTENCE,
    RULERS,
    SENDER_NAMES,
    SENDERS,
    SENTENCES,
    SENTENCES_WEIGHT_MAX,
    SMTP_WORDS,
    SUBJECTS,
    Weighed,
)
from postlane.core.reports.report import ReportKind

ORIGINAL_LINE_MAX = 100  # a longer line is a sentence that goes on
SUBJECT_CHARACTERS_MAX = 300  # looked at
NOTICE_CHARACTERS_MAX = 8000  # a server's own words come first and are few
ORIGINAL_TYPES = frozenset(
    {
        "message/rfc822",
        "text/rfc822-headers",
        "message/global",
        "message/global-headers",
        "text/rfc822-header",
    }
)


@dataclass(frozen=True, slots=True)
class Notice:
    """A bounce or delay by its words; `reason` names the signs, the strongest first."""

    kind: ReportKind
    reason: str


@dataclass(frozen=True, slots=True)
class _Sign:
    weight: int
    said: str
    is_sentence: bool = False
    names_server: bool = False


def find_notice(mail: ParsedMail, *, answers_by_machine: bool) -> Notice | None:
    """The notice that this mail is, as far as its words tell; None for everything else.

    `answers_by_machine`: its headers call it an automatic reply. An absent person's null reverse path and "no longer at this address" are
    no bounce then; servers that write such headers also name themselves or the failure.
    """
    envelope = [*_envelope_signs(mail, answers_by_machine=answers_by_machine)]
    subject = [*_subject_signs(mail)]
    if not envelope and not subject:
        return None  # sentences alone never suffice, and to look for them takes longer than all else together
    sentences = [*_sentence_signs(mail)]
    if not subject and not sentences and AUTO_REPLY_SUBJECT.match(mail.subject):
        return None  # somebody's absence, sent by the server
    said = any(sign.weight > 1 for sign in sentences)  # a number may look like a reply code
    if not subject and not said and not any(sign.names_server for sign in envelope):
        return None  # a null reverse path is all that it has of a bounce, as much spam does
    signs = [*envelope, *subject, *sentences]
    if sum(sign.weight for sign in signs) < ENOUGH:
        return None
    signs.sort(key=lambda sign: -sign.weight)
    kind = ReportKind.DELAY if is_delay(mail) else ReportKind.BOUNCE
    return Notice(kind, "; ".join(sign.said for sign in signs[:3]))


def notice_text(mail: ParsedMail) -> str:
    """The server's own words, without the mail that it gives back."""
    text = (mail.text or "")[:NOTICE_CHARACTERS_MAX]
    found = _original_line(text)
    return text if found is None else text[: found[0]]


def quoted_original(mail: ParsedMail) -> str:
    """What a server gives back of the mail in its text, behind its own words; empty where it does not."""
    text = mail.text or ""
    found = _original_line(text[:NOTICE_CHARACTERS_MAX])
    return "" if found is None else text[found[1] :].lstrip("\n")


def is_delay(mail: ParsedMail) -> bool:
    """Whether a notice says that the mail is still being tried. Where it also says that nothing will be tried, it is over."""
    text = notice_text(mail)
    if PERMANENT_SENTENCE.search(text) and not DELAY_SENTENCE.search(text):
        return False
    if DELAY_SUBJECT.search(mail.subject):
        return True
    return bool(DELAY_SENTENCE.search(text)) and not PERMANENT_SENTENCE.search(text)


def _original_line(text: str) -> tuple[int, int] | None:
    """Where the line that announces the original begins and ends."""
    at = 0
    for line in text.splitlines(keepends=True):
        words = line.strip(RULERS + "\r\n")
        if 0 < len(words) <= ORIGINAL_LINE_MAX and ORIGINAL_LINE.match(words):
            return at, at + len(line)
        at += len(line)
    return None


def _envelope_signs(mail: ParsedMail, *, answers_by_machine: bool) -> Iterator[_Sign]:
    if failed := mail.header_values("X-Failed-Recipients"):
        yield _Sign(ENOUGH, f"X-Failed-Recipients: {failed[0]}", names_server=True)
    if mail.header_values("X-MS-Exchange-Message-Is-Ndr"):  # it has no value
        yield _Sign(ENOUGH, "X-MS-Exchange-Message-Is-Ndr", names_server=True)
    sender = next(iter(mail.from_addresses), None)
    address = "" if sender is None else sender.address
    name = "" if sender is None else sender.name
    local = address.rpartition("@")[0] or address or name
    if weight := _first(SENDERS, local):
        yield _Sign(weight, f"From: {address or name}", names_server=weight > 1)
    elif weight := _first(SENDER_NAMES, name):
        yield _Sign(weight, f"From: {name}", names_server=True)
    elif not address and not name:
        yield _Sign(2, "From names no address", names_server=True)
    if mail.return_path == "" and not answers_by_machine:
        yield _Sign(2, "Return-Path: <>")


def _subject_signs(mail: ParsedMail) -> Iterator[_Sign]:
    if weight := _first(SUBJECTS, mail.subject[:SUBJECT_CHARACTERS_MAX]):
        yield _Sign(weight, f"Subject: {mail.subject}")


def _sentence_signs(mail: ParsedMail) -> Iterator[_Sign]:
    text = " ".join(notice_text(mail).split())
    lowered = text.lower() if ODD_CASES.isdisjoint(text) else None
    said = [
        (rule.weight, found[0])
        for rule in SENTENCES
        if (lowered is None or rule.lowered.search(lowered)) and (found := rule.pattern.search(text))
    ]
    if said:
        weight = min(sum(weight for weight, _ in said), max(SENTENCES_WEIGHT_MAX, max(said)[0]))
        yield _Sign(weight, f"text: {max(said)[1]}", is_sentence=True)
    if found := SMTP_WORDS.search(text):
        yield _Sign(1, f"text: {found[0].strip()}", is_sentence=True)
    if ORIGINAL_TYPES & set(mail.part_types):
        yield _Sign(1, "the original mail is included", is_sentence=True)


def _first(rules: tuple[Weighed, ...], text: str) -> int:
    return next((rule.weight for rule in rules if text and rule.pattern.search(text)), 0)
