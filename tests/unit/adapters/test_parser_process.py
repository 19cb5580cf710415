"""Real parser processes: what they read, and what becomes of mail that ends them."""

import asyncio
import os
import pickle
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from postlane.adapters import parser_link, parser_process
from postlane.adapters.parser_link import OutOfTime, ParserLink
from postlane.adapters.parser_process import BATCH_BYTES_MAX, BATCH_MAILS_MAX, ParserPool
from postlane.adapters.parser_worker import ANSWERS, READY, Answer, WorkerSettings
from postlane.core.events.received import ParseStatus
from postlane.core.reading.mail_class import ClassRules
from postlane.core.reading.mail_reading import ReadRequest, read_mail
from postlane.core.ticket_marks import SigningKeys

CORPUS = Path(__file__).parents[2] / "corpus" / "mails"
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


def test_what_a_process_says_is_the_reading_itself() -> None:
    """Every kind of mail on the way out of the process, nothing lost and nothing turned into something else."""
    mails = [path.read_bytes() for path in sorted(CORPUS.glob("*.eml"))[::5]]
    readings = [read_mail(ReadRequest(raw), RULES) for raw in mails if len(raw) < 100_000]
    assert len(readings) > 100
    told = ANSWERS.decode(msgspec.msgpack.encode([Answer(reading) for reading in readings]))
    assert [answer.reading for answer in told] == readings


async def test_many_are_read_in_their_order(pool: ParserPool) -> None:
    raws = [PLAIN.replace(b"words", b"words %d" % number) for number in range(BATCH_MAILS_MAX * 2 + 1)]
    timed = await pool.read_all(raws)
    assert [one.reading.mail.text for one in timed] == [f"words {number}" for number in range(len(raws))]
    assert await pool.read_all([]) == []


async def test_an_answer_that_is_none_costs_the_process_and_not_the_mail(
    pool: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that a mail has taken over may say anything: it is data, and never run."""
    said = iter([pickle.dumps("anything"), msgspec.msgpack.encode([])])
    really = ParserLink._receive

    async def receive(self: ParserLink, process: asyncio.subprocess.Process) -> bytes:
        heard = await really(self, process)
        return heard if heard == READY else next(said, heard)

    monkeypatch.setattr(ParserLink, "_receive", receive)
    timed = await pool.read(PLAIN)
    assert timed.reading.mail.parse_status is ParseStatus.FAILED
    assert (await pool.read(PLAIN)).reading.mail.text == "words"


async def test_one_process_serves_many_mails(pool: ParserPool) -> None:
    await pool.read(PLAIN)
    first = worker_pid(pool)
    for _ in range(20):
        await pool.read(PLAIN)
    assert worker_pid(pool) == first


async def test_more_calls_than_processes_wait_for_their_turn(pool: ParserPool) -> None:
    readings = await asyncio.gather(*(pool.read(PLAIN.replace(b"words", b"%d" % n)) for n in range(10)))
    assert [timed.reading.mail.text for timed in readings] == [str(n) for n in range(10)]


async def started_pid(pool: ParserPool, other_than: int | None = None) -> int:
    """The process that runs without being asked for anything."""
    async with asyncio.timeout(30):
        while True:
            process = pool._all[0]._process
            if process is not None and process.pid != other_than and pool._idle:
                return process.pid
            await asyncio.sleep(0.01)


async def test_a_process_is_ready_before_the_first_mail(pool: ParserPool) -> None:
    pool.warm_up()
    before = await started_pid(pool)
    await pool.read(PLAIN)
    assert worker_pid(pool) == before


async def test_mail_that_comes_while_the_pool_warms_up_is_read(pool: ParserPool) -> None:
    pool.warm_up()
    assert (await pool.read(PLAIN)).reading.mail.subject == "hi"


async def test_a_worn_process_is_renewed_before_the_next_mail(
    pool: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parser_link, "MAILS_PER_WORKER", 2)
    await pool.read(PLAIN)
    worn = worker_pid(pool)
    await pool.read(PLAIN)
    renewed = await started_pid(pool, other_than=worn)
    await pool.read(PLAIN)
    assert worker_pid(pool) == renewed


async def test_a_pool_that_cannot_start_its_processes_reads_once_it_can(
    pool: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", "/nowhere/python")
        pool.warm_up()
        await asyncio.gather(*pool._serving)
    assert (await pool.read(PLAIN)).reading.mail.subject == "hi"


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


async def test_time_in_which_we_stood_still_is_not_the_mails_fault() -> None:
    pool = ParserPool(1, 1.0, RULES)
    try:
        await pool.read(PLAIN)
        os.kill(worker_pid(pool), signal.SIGSTOP)
        reading = asyncio.create_task(pool.read(PLAIN))
        await asyncio.sleep(0.1)
        os.kill(worker_pid(pool), signal.SIGCONT)
        time.sleep(1.5)  # noqa: ASYNC251 - as if this process, too, had been stopped
        timed = await reading
    finally:
        await pool.close()
    assert timed.reading.mail.parse_status is ParseStatus.OK


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


async def test_mails_that_wait_together_travel_together_and_keep_their_order(pool: ParserPool) -> None:
    await pool.read(PLAIN)
    before = worker_pid(pool)
    mails = [PLAIN.replace(b"hi", b"%d" % number) for number in range(3 * BATCH_MAILS_MAX)]
    large = PLAIN + b"x" * BATCH_BYTES_MAX
    readings = await asyncio.gather(*(pool.read(mail) for mail in (*mails, large)))
    assert [timed.reading.mail.subject for timed in readings] == [str(n) for n in range(len(mails))] + ["hi"]
    assert worker_pid(pool) == before


async def test_of_a_batch_that_takes_too_long_every_mail_gives_its_own_headers() -> None:
    pool = ParserPool(2, 0.000001, RULES)
    try:
        readings = await asyncio.gather(*(pool.read(PLAIN.replace(b"hi", b"%d" % n)) for n in range(6)))
    finally:
        await pool.close()
    assert [timed.reading.mail.subject for timed in readings] == [str(n) for n in range(6)]
    assert {timed.reading.mail.parse_status for timed in readings} == {ParseStatus.FAILED}


async def test_a_call_that_is_cancelled_while_it_waits_takes_nobody_with_it(pool: ParserPool) -> None:
    calls = [asyncio.create_task(pool.read(PLAIN.replace(b"hi", b"%d" % n))) for n in range(4)]
    await asyncio.sleep(0)
    calls[1].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[1], asyncio.CancelledError)
    assert [one.reading.mail.subject for one in answers if not isinstance(one, BaseException)] == [
        "0",
        "2",
        "3",
    ]


async def test_a_mail_that_needs_too_much_memory_still_gives_its_headers() -> None:
    pool = ParserPool(1, 60.0, RULES, memory_bytes=400 * 2**20)
    bomb = PLAIN.replace(b"\r\n\r\n", b"\r\nContent-Type: application/x-bomb\r\n\r\n", 1) + b"x" * (
        150 * 2**20
    )
    try:
        timed, after = await pool.read(bomb), await pool.read(PLAIN)
    finally:
        await pool.close()
    assert timed.reading.mail.parse_status is ParseStatus.FAILED
    assert timed.reading.mail.subject == "hi"
    assert after.reading.mail.parse_status is ParseStatus.OK


async def test_processor_time_is_limited_by_the_process_itself() -> None:
    link = ParserLink(WorkerSettings(RULES, 60.0, cpu_seconds=0.000001))
    try:
        with pytest.raises(OutOfTime, match="processor time"):
            await link.ask_one(ReadRequest(b"Content-Type: text/html\r\n\r\n" + b"<ul><li>" * 9_000), 60.0)
    finally:
        await link.stop()


async def test_a_closed_pool_leaves_nobody_waiting() -> None:
    pool = ParserPool(1, 60.0, RULES)
    calls = [asyncio.create_task(pool.read(PLAIN)) for _ in range(3)]
    await asyncio.sleep(0)
    await pool.close()
    done, waiting = await asyncio.wait(calls, timeout=30)
    assert len(done) == 3
    assert not waiting
