"""The virus scanner as the inbound service uses it: within limits of size, number and time, and never a reason for mail to wait longer."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from postlane.adapters.metrics import Metrics
from postlane.adapters.scan_clamd import Clamd
from postlane.adapters.scan_command import ScanCommand
from postlane.config.scan_section import ScanSection
from postlane.core.events.received import Scan, ScanVerdict
from postlane.core.metrics import SCAN_SECONDS, SCANNER_OK, SCANS
from postlane.core.virus_scanning import ScannerFailed, ScannerTrust, scan_of
from postlane.ports import Clock

log = structlog.get_logger(__name__)


class Engine(Protocol):
    """What gives verdicts; `name` is for people."""

    name: str

    async def examine(self, content: bytes) -> tuple[ScanVerdict, str]:
        """Verdict and detail; may take for ever, and stops when it is cancelled. Raises ScannerFailed."""


class Scanner:
    """One for all mailboxes of a process. `clock` counts seconds as the event loop does."""

    def __init__(self, engine: Engine, section: ScanSection, metrics: Metrics, clock: Clock) -> None:
        self._engine = engine
        self._section = section
        self._metrics = metrics
        self._clock = clock
        self._slots = asyncio.Semaphore(section.at_once)
        self._trust = ScannerTrust()
        metrics.gauge(SCANNER_OK).set(1)

    async def scan(self, contents: Sequence[bytes]) -> list[Scan]:
        """One verdict per content, in order, within `seconds_max`; never raises for what a scanner does."""
        deadline = self._clock() + self._section.seconds_max
        scans = await asyncio.gather(*(self._one(content, deadline) for content in contents))
        for scan in scans:
            self._metrics.counter(SCANS, verdict=scan.verdict.value).inc()
        return list(scans)

    async def _one(self, content: bytes, deadline: float) -> Scan:
        if len(content) > self._section.size_bytes_max:
            return self._scan(ScanVerdict.SKIPPED, f"larger than {self._section.size_bytes_max} bytes")
        try:
            async with asyncio.timeout(deadline - self._clock()):
                await self._slots.acquire()
        except TimeoutError:
            return self._scan(ScanVerdict.ERROR, "the scanner has too much to do")
        try:
            if not self._trust.may_ask(self._clock()):
                words = "the scanner does not work and is left alone for a while"
                return self._scan(ScanVerdict.ERROR, words)
            return await self._asked(content, deadline)
        finally:
            self._slots.release()

    async def _asked(self, content: bytes, deadline: float) -> Scan:
        self._trust = self._trust.asked()
        began = self._clock()
        try:
            async with asyncio.timeout(deadline - began):
                verdict, detail = await self._engine.examine(content)
        except ScannerFailed as error:
            return self._failed(str(error))
        except TimeoutError:
            return self._failed(f"no answer within {self._clock() - began:.1f} s")
        except asyncio.CancelledError:
            self._trust = self._trust.given_up()
            raise
        except Exception:  # a fault of ours must not hold mail back: it is marked, and the log has it
            log.exception("scanner_fault", engine=self._engine.name)
            return self._failed("the scanner could not be asked; see the log")
        self._metrics.histogram(SCAN_SECONDS).observe(self._clock() - began)
        self._answered()
        return self._scan(verdict, detail)

    def _answered(self) -> None:
        if not self._trust.works:
            log.info("scanner_works_again", engine=self._engine.name)
        self._trust = self._trust.answered()
        self._metrics.gauge(SCANNER_OK).set(1)

    def _failed(self, reason: str) -> Scan:
        worked = self._trust.works
        self._trust = self._trust.failed(self._clock())
        if worked and not self._trust.works:
            log.error("scanner_failing", engine=self._engine.name, reason=reason)
        self._metrics.gauge(SCANNER_OK).set(int(self._trust.works))
        return self._scan(ScanVerdict.ERROR, reason)

    def _scan(self, verdict: ScanVerdict, detail: str) -> Scan:
        return scan_of(verdict, detail, self._engine.name)


def engine_of(section: ScanSection) -> Engine | None:
    """What the configuration names; None for no scanner."""
    if section.clamd is not None:
        return Clamd(section.clamd)
    return ScanCommand(section.command) if section.command else None


def configured_scanner(section: ScanSection, metrics: Metrics, clock: Clock) -> Scanner | None:
    """The scanner that the configuration names, if any."""
    engine = engine_of(section)
    return None if engine is None else Scanner(engine, section, metrics, clock)
