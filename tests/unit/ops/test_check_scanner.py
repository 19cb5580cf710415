"""`postlane doctor` on the virus scanner."""

from pathlib import Path

import pytest

from fakes.scripted_clamd import falls_silent, says, scripted_clamd
from postlane.config.scan_section import ScanSection
from postlane.ops.check_scanner import check_scanner
from postlane.ops.checks import State


@pytest.mark.parametrize(
    ("reply", "state", "words"),
    [
        (b"stream: OK\0", State.OK, "clamd answers"),
        (b"stream: Everything FOUND\0", State.FAIL, "calls harmless bytes INFECTED: Everything"),
        (b"", State.FAIL, "it gave no answer"),
    ],
)
async def test_doctor_asks_the_scanner(tmp_path: Path, reply: bytes, state: State, words: str) -> None:
    async with scripted_clamd(tmp_path, says(reply)) as clamd:
        check = await check_scanner(ScanSection(clamd=clamd.address))
    assert check is not None
    assert (check.state, words in check.detail) == (state, True)


async def test_doctor_waits_no_longer_than_a_mail(tmp_path: Path) -> None:
    async with scripted_clamd(tmp_path, falls_silent) as clamd:
        check = await check_scanner(ScanSection(clamd=clamd.address, seconds_max=0.1))
    assert check is not None
    assert check.detail == "clamd does not answer within 0.1 s"


async def test_doctor_says_nothing_of_a_scanner_that_is_not_wanted() -> None:
    assert await check_scanner(ScanSection()) is None
