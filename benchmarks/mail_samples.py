"""Mails as a help desk gets them, 2 to 40 kB and 11.6 kB on average, all from one number: the same mail for the same number, always.

Plain answers with a quote below, alternatives in HTML, newsletters-like HTML, and attachments in base64, under the headers that a few relays leave.
"""

import base64
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

SIZE_MIN, SIZE_MAX = 2_000, 32_000  # of the text; markup comes on top
SIZE_LOG_MEAN, SIZE_LOG_DEVIATION = 9.0, 0.75
WORDS = [
    "the",
    "invoice",
    "printer",
    "order",
    "since",
    "yesterday",
    "please",
    "could",
    "you",
    "check",
    "our",
    "account",
    "again",
    "it",
    "still",
    "shows",
    "an",
    "error",
    "when",
    "we",
    "try",
    "to",
    "open",
    "delivery",
    "address",
    "customer",
    "number",
    "thank",
    "you",
    "for",
    "your",
    "quick",
    "answer",
    "unfortunately",
    "nothing",
    "has",
    "changed",
    "best",
    "regards",
    "attached",
    "screenshot",
    "contract",
    "password",
    "reset",
    "team",
    "meeting",
    "Monday",
    "Grüße",
    "für",
    "über",
    "Straße",
    "naïve",
    "café",
]
LINE_WORDS = 11
BEGAN = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
TYPES = (("pdf", "application/pdf"), ("png", "image/png"), ("docx", "application/octet-stream"))


def sample_mails(count: int, seed: int = 1) -> Iterator[bytes]:
    """`count` different mails with CRLF line ends."""
    for number in range(count):
        yield sample_mail(number, seed)


def sample_mail(number: int, seed: int = 1) -> bytes:
    """The mail of this number."""
    rnd = random.Random(f"{seed}:{number}")
    size = int(min(SIZE_MAX, max(SIZE_MIN, rnd.lognormvariate(SIZE_LOG_MEAN, SIZE_LOG_DEVIATION))))
    head = _head(rnd, number)
    kind = rnd.choices((_plain, _alternative, _mixed), (30, 50, 20))[0]
    return (head + kind(rnd, max(300, size - len(head)))).replace("\n", "\r\n").encode()


def _head(rnd: random.Random, number: int) -> str:
    sender = f"customer{rnd.randrange(4000)}@mail{rnd.randrange(40)}.example.org"
    date = format_datetime(BEGAN + timedelta(seconds=7 * number))
    received = "".join(
        f"Received: from mx{hop}.example.org (mx{hop}.example.org [192.0.2.{rnd.randrange(250)}])\n"
        f"\tby relay{hop}.example.net (Postfix) with ESMTPS id {rnd.randbytes(6).hex().upper()}\n"
        f"\tfor <support@desk.test>; {date}\n"
        for hop in range(rnd.randint(2, 4))
    )
    signature = "\n\t".join(_base64(rnd, 256).split("\n"))
    lines = [
        f"Return-Path: <{sender}>",
        "Delivered-To: support@desk.test",
        received.rstrip("\n"),
        f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1;\n\tb={signature}",
        f"Message-ID: <{number}.{rnd.randbytes(8).hex()}@example.org>",
        f"Date: {date}",
        f"From: =?UTF-8?Q?J=C3=BCrgen_M=C3=BCller?= <{sender}>",
        "To: Support <support@desk.test>",
        f"Subject: Re: {' '.join(rnd.choices(WORDS[:30], k=6))} {number}",
        "MIME-Version: 1.0",
        "X-Mailer: Example Mail 12.4",
    ]
    if rnd.random() < 0.5:
        thread = f"<{number // 3}.thread@desk.test>"
        lines += [f"In-Reply-To: {thread}", f"References: <root.{number // 9}@desk.test>\n\t{thread}"]
    return "\n".join(lines) + "\n"


def _plain(rnd: random.Random, size: int) -> str:
    return f'Content-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: 8bit\n\n{_text(rnd, size)}'


def _alternative(rnd: random.Random, size: int) -> str:
    boundary = f"=_{rnd.randbytes(10).hex()}"
    text = _text(rnd, size // 3)
    rows = "".join(
        f'<p style="margin:0">{line}</p>\n' for line in _text(rnd, size * 2 // 3 - 300).splitlines()
    )
    return (
        f'Content-Type: multipart/alternative; boundary="{boundary}"\n\n'
        f'--{boundary}\nContent-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: 8bit\n\n{text}\n'
        f'--{boundary}\nContent-Type: text/html; charset="utf-8"\nContent-Transfer-Encoding: 8bit\n\n'
        f"<html><head><style>p {{ color: #222 }}</style></head><body>\n{rows}</body></html>\n--{boundary}--\n"
    )


def _mixed(rnd: random.Random, size: int) -> str:
    boundary = f"=_{rnd.randbytes(10).hex()}"
    suffix, content_type = rnd.choice(TYPES)
    content = _base64(rnd, max(200, (size - 900) * 54 // 74))
    return (
        f'Content-Type: multipart/mixed; boundary="{boundary}"\n\n--{boundary}\n{_plain(rnd, 600)}\n'
        f'--{boundary}\nContent-Type: {content_type}; name="file.{suffix}"\n'
        f'Content-Disposition: attachment; filename="file.{suffix}"\nContent-Transfer-Encoding: base64\n\n'
        f"{content}\n--{boundary}--\n"
    )


def _text(rnd: random.Random, size: int) -> str:
    """Lines of words, the later half as a quote."""
    lines: list[str] = []
    length = 0
    while length < size:
        line = " ".join(rnd.choices(WORDS, k=LINE_WORDS))
        lines.append(f"> {line}" if length > size // 2 else line)
        length += len(lines[-1]) + 1
    return "\n".join(lines) + "\n"


def _base64(rnd: random.Random, size: int) -> str:
    return base64.encodebytes(rnd.randbytes(size)).decode().rstrip("\n")
