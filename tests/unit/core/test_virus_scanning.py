"""Scanners' answers, and when a scanner is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.received import ScanVerdict
from postlane.core.virus_scanning import (
    DETAIL_CHARACTERS_MAX,
    FAILURES_MAX,
    REST_SECONDS,
    ScannerFailed,
    ScannerTrust,
    clamd_verdict,
    command_verdict,
    scan_of,
)


@pytest.mark.parametrize(
    ("reply", "verdict", "detail"),
    [
        (b"stream: OK\0", ScanVerdict.CLEAN, ""),
        (b"stream: OK", ScanVerdict.CLEAN, ""),
        (
            b"stream: Win.Test.EICAR_HDB-1 FOUND\0",
            ScanVerdict.INFECTED,
            "Win.Test.EICAR_HDB-1",
        ),
        (b"stream: Heuristics.Encrypted.Zip FOUND\0", ScanVerdict.INFECTED, "Heuristics.Encrypted.Zip"),
        (
            b"INSTREAM size limit exceeded. ERROR\0",
            ScanVerdict.SKIPPED,
            "larger than StreamMaxLength of clamd",
        ),
        (b"stream: Can't allocate memory ERROR\0", ScanVerdict.ERROR, "Can't allocate memory"),
        (b"stream: a\x1b[31mb FOUND\0", ScanVerdict.INFECTED, "a [31mb"),
    ],
)
def test_replies_of_clamd(reply: bytes, verdict: ScanVerdict, detail: str) -> None:
    assert clamd_verdict(reply) == (verdict, detail)


@pytest.mark.parametrize("reply", [b"", b"\0", b"UNKNOWN COMMAND\0", b"220 smtp ready\r\n", b"stream: \0"])
def test_what_is_no_verdict_is_a_failure(reply: bytes) -> None:
    with pytest.raises(ScannerFailed, match=r"no verdict|no answer"):
        clamd_verdict(reply)


@given(st.binary(max_size=3000))
def test_no_reply_passes_for_clean_that_does_not_say_so(reply: bytes) -> None:
    try:
        verdict, detail = clamd_verdict(reply)
    except ScannerFailed:
        return
    assert verdict is not ScanVerdict.CLEAN or reply.partition(b"\0")[0].rstrip().endswith(b"OK")
    assert detail.isprintable()


@pytest.mark.parametrize(
    ("code", "output", "verdict", "detail"),
    [
        (0, b"stream: OK\n", ScanVerdict.CLEAN, ""),
        (1, b"stream: Eicar FOUND\nmore\n", ScanVerdict.INFECTED, "stream: Eicar FOUND"),
        (1, b"", ScanVerdict.INFECTED, ""),
        (2, b"", ScanVerdict.ERROR, "exit code 2"),
        (127, b"\n not found\n", ScanVerdict.ERROR, "not found"),
    ],
)
def test_exit_codes_of_a_command(code: int, output: bytes, verdict: ScanVerdict, detail: str) -> None:
    assert command_verdict(code, output) == (verdict, detail)


def test_details_are_bounded() -> None:
    scan = scan_of(ScanVerdict.ERROR, "x" * 10_000, "y" * 10_000)
    assert len(scan.detail) == len(scan.engine) == DETAIL_CHARACTERS_MAX


def test_a_scanner_is_left_alone_after_failures_in_a_row_and_then_asked_once() -> None:
    trust = ScannerTrust()
    for _ in range(FAILURES_MAX):
        assert trust.may_ask(100.0)
        trust = trust.asked().failed(100.0)
    assert not trust.works
    assert not trust.may_ask(100.0 + REST_SECONDS - 0.1)
    assert trust.may_ask(100.0 + REST_SECONDS)
    probing = trust.asked()
    assert not probing.may_ask(100.0 + REST_SECONDS)
    assert probing.answered().may_ask(0.0)
    assert not probing.failed(200.0).may_ask(200.0)
    assert probing.failed(200.0).may_ask(200.0 + REST_SECONDS)
    assert probing.given_up().may_ask(100.0 + REST_SECONDS)


def test_an_answer_in_between_makes_failures_forgotten() -> None:
    trust = ScannerTrust()
    for _ in range(10):
        for _ in range(FAILURES_MAX - 1):
            trust = trust.asked().failed(1.0)
        trust = trust.asked().answered()
        assert trust.works


@given(st.lists(st.sampled_from(["failed", "answered", "given_up"]), max_size=40))
def test_a_scanner_is_never_left_alone_for_good(ends: list[str]) -> None:
    trust, now = ScannerTrust(), 0.0
    for end in ends:
        assert trust.may_ask(now)
        asked = trust.asked()
        trust = asked.failed(now) if end == "failed" else getattr(asked, end)()
        now += REST_SECONDS
