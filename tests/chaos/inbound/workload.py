"""The mails of one run, all from the seed: which mailbox gets them, how they come in, and what they look like.

No two are the same bytes: the hash of its bytes is a mail's name in the verdict.
"""

import base64
import random
from dataclasses import dataclass
from hashlib import sha256

from chaos.inbound.mailboxes import OVERSIZE_BYTES, PLACES

OVERSIZE_SHARE = 0.01
HOSTILE_SHARE = 0.08
ATTACHED_SHARE = 0.1
APPENDED_SHARE = 0.3  # the others are put into the maildir as files, as a delivery agent does
FLAGGED_SHARE = 0.15  # have been read, by somebody or something, when they come
BURST_MAILS_MAX = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One mail on its way into a mailbox; `flags` only where it is appended."""

    number: int
    mailbox: str
    folder: str
    raw: bytes
    appended: bool
    flags: str

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, as events name them."""
        return sha256(self.raw).hexdigest()

    @property
    def oversize(self) -> bool:
        """Whether its event has only the headers."""
        return len(self.raw) > OVERSIZE_BYTES


def plan_letters(mails: int, seed: int) -> list[Letter]:
    """In the order in which they are delivered."""
    rnd = random.Random(f"{seed}:letters")
    return [_plan_letter(rnd, seed, number) for number in range(mails)]


def plan_bursts(mails: int, seed: int) -> list[int]:
    """How many come at once, each time; mostly few."""
    rnd = random.Random(f"{seed}:bursts")
    bursts: list[int] = []
    while (left := mails - sum(bursts)) > 0:
        bursts.append(min(left, 1 + int(BURST_MAILS_MAX * rnd.random() ** 3)))
    return bursts


def _plan_letter(rnd: random.Random, seed: int, number: int) -> Letter:
    appended = rnd.random() < APPENDED_SHARE
    mailbox, folder = rnd.choice(PLACES)
    return Letter(
        number=number,
        mailbox=mailbox,
        folder=folder,
        raw=_mail(rnd, seed, number),
        appended=appended,
        flags=rnd.choice(("\\Seen", "\\Flagged", "\\Seen \\Answered"))
        if appended and rnd.random() < FLAGGED_SHARE
        else "",
    )


def _mail(rnd: random.Random, seed: int, number: int) -> bytes:
    thread = f"<{number // 4}.{seed}.thread@example.org>"
    head = (
        f"From: Customer {number} <c{rnd.randrange(200)}@example.org>\n"
        f"To: support@desk.test\nSubject: mail {number}\nX-Number: {seed}.{number}\n"
        f"Message-ID: <{number}.{seed}@example.org>\nReferences: {thread}\n"
        "Date: Sat, 21 Nov 2026 10:00:00 +0000\nMIME-Version: 1.0\n"
    ).encode()
    text = b"A line of an answer that is as long as such lines are.\n" * rnd.randrange(1, 40)
    draw = rnd.random()
    if draw < OVERSIZE_SHARE:
        return _crlf(head + b"\n" + text + b"x" * 900 + _lines(rnd, OVERSIZE_BYTES + rnd.randrange(10**6)))
    if draw < OVERSIZE_SHARE + HOSTILE_SHARE:
        return _crlf(_hostile(rnd, head, text))
    if draw < OVERSIZE_SHARE + HOSTILE_SHARE + ATTACHED_SHARE:
        return _crlf(_attached(rnd, head, text))
    return _crlf(head + b"Content-Type: text/plain; charset=utf-8\n\n" + text)


def _attached(rnd: random.Random, head: bytes, text: bytes) -> bytes:
    content = _lines(rnd, rnd.choice((500, 5_000, 40_000)))
    return (
        head
        + b'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain\n\n'
        + text
        + b"\n--b\n"
        b'Content-Type: application/pdf; name="a.pdf"\nContent-Transfer-Encoding: base64\n\n'
        + content
        + b"--b--\n"
    )


def _hostile(rnd: random.Random, head: bytes, text: bytes) -> bytes:
    """Mail that is broken in some way and must come through all the same."""
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (it, it) for it in range(150)
    )
    return rnd.choice(
        (
            head + b"Content-Type: multipart/mixed; boundary=never\n\n" + text,
            head + b"Content-Type: text/plain; charset=no-such\n\n\xff\xfe\x80" + text,
            head + b"Content-Transfer-Encoding: base64\n\n*** no base64 ***\n" + text,
            head + nested + text,
            b"no header at all\n" + head + text,
            head + b"Subject: =?utf-8?b?broken\nTo:\n" + b"X-Long: " + b"y" * 20_000 + b"\n\n" + text,
            head,
        )
    )


def _lines(rnd: random.Random, size: int) -> bytes:
    return base64.encodebytes(rnd.randbytes(size * 3 // 4))


def _crlf(raw: bytes) -> bytes:
    return raw.replace(b"\n", b"\r\n")
