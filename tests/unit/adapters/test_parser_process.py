"""Real parser processes: what they read, and what becomes of mail that ends them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from postlane.adapters import parser_process
from postlane.adapters.parser_process import ParserPool
from postlane.core.events.received import ParseStatus
from postlane.core.reading.mail_class import ClassRules
from postlane.core.ticket_marks import SigningKeys

RULES = ClassRules(frozenset(), frozenset(), SigningKeys("k1", {"k1": b"0123456789abcdef"}, "desk.example"))
PLAIN = b"From: a@example.org\r\nMessage-ID: <1@x>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nSubject: hi\r\n\r\nwords\r\n"


@pytest.fixture
async def pool() -> AsyncIterator[ParserPool]:
    pool = ParserPool(1, 20.0, RULES)
    yield pool
    await pool.close()


def worker_pid(pool: ParserPool) -> int:
    process = pool._all[0]._process
    assert process is not None
    return process.pid


async def test_a_mail_is_read(pool: ParserPool) -> None:
    timed = await pool.read(PLAIN)
    assert timed.reading.mail.parse_status is ParseStatus.OK
    assert timed.reading.mail.text == "words"
    assert timed.reading.mail.subject == "hi"
    assert timed.seconds > 0


async def test_one_process_serves_many_mails(pool: ParserPool) -> None:
    await pool.read(PLAIN)
    first = worker_pid(pool)
    for _ in range(20):
        await pool.read(PLAIN)
    assert worker_pid(pool) == first


async def test_more_calls_than_processes_wait_for_their_turn(pool: ParserPool) -> None:
    readings = await asyncio.gather(*(pool.read(PLAIN.replace(b"words", b"%d" % n)) for n in range(10)))
    assert [timed.reading.mail.text for timed in readings] == [str(n) for n in range(10)]


async def test_a_process_that_was_killed_is_started_again(pool: ParserPool) -> None:
    await pool.read(PLAIN)
    before = worker_pid(pool)
    os.kill(before, signal.SIGKILL)
    timed = await pool.read(PLAIN)
    assert timed.reading.mail.subject == "hi"
    assert worker_pid(pool) != before


async def test_a_process_that_is_killed_while_it_reads_costs_the_mail_nothing(pool: ParserPool) -> None:
    long = PLAIN + b"On 1 Jan 2026 he wrote:\r\n" * 19_000  # takes a moment
    await pool.read(PLAIN)
    reading = asyncio.create_task(pool.read(long))
    await asyncio.sleep(0.01)
    os.kill(worker_pid(pool), signal.SIGKILL)
    assert (await reading).reading.mail.parse_status is ParseStatus.OK


async def test_a_signal_to_the_whole_group_does_not_end_the_reading(pool: ParserPool) -> None:
    await pool.read(PLAIN)
    before = worker_pid(pool)
    os.kill(before, signal.SIGTERM)
    os.kill(before, signal.SIGINT)
    await pool.read(PLAIN)
    assert worker_pid(pool) == before


async def test_a_mail_that_takes_too_long_still_gives_its_headers() -> None:
    # No parser is that fast: every mail outlasts this limit, the headers have one of their own.
    pool = ParserPool(1, 0.000001, RULES)
    try:
        timed = await pool.read(PLAIN)
    finally:
        await pool.close()
    assert timed.reading.mail.parse_status is ParseStatus.FAILED
    assert timed.reading.mail.subject == "hi"
    assert timed.reading.mail.text is None
    assert any("no result within" in defect for defect in timed.reading.mail.defects)


async def test_nothing_readable_is_still_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser_process, "HEADERS_SECONDS_MAX", 0.000001)
    pool = ParserPool(1, 0.000001, RULES)
    try:
        timed = await pool.read(PLAIN)
    finally:
        await pool.close()
    assert timed.reading.mail.parse_status is ParseStatus.FAILED
    assert timed.reading.mail.headers == ()
    assert timed.reading.verdicts.may_open


async def test_headers_alone_are_not_a_failure(pool: ParserPool) -> None:
    reading = await pool.read_headers(PLAIN, "larger than 50 MiB")
    assert reading.mail.parse_status is ParseStatus.HEADERS_ONLY
    assert "larger than 50 MiB" in reading.mail.defects
    assert reading.mail.text is None


@pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="only Linux shows a process's environment"
)
async def test_the_processes_environment_holds_no_secrets(
    pool: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTLANE_KAFKA__PASSWORD", "do-not-tell")
    await pool.read(PLAIN)
    environment = await asyncio.to_thread(Path(f"/proc/{worker_pid(pool)}/environ").read_bytes)
    assert b"PYTHONPATH" in environment
    assert b"do-not-tell" not in environment


async def test_a_cancelled_call_leaves_no_process_with_a_stale_answer(pool: ParserPool) -> None:
    await pool.read(PLAIN)
    reading = asyncio.create_task(pool.read(PLAIN.replace(b"hi", b"first")))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    timed = await pool.read(PLAIN.replace(b"hi", b"second"))
    assert timed.reading.mail.subject == "second"
