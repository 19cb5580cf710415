"""Doctor's check of the virus scanner: it is asked about a few harmless bytes."""

import asyncio

from postlane.adapters.scanner import engine_of
from postlane.config.scan_section import ScanSection
from postlane.core.events.received import ScanVerdict
from postlane.core.virus_scanning import ScannerFailed
from postlane.ops.checks import Check, fail, ok

HARMLESS = b"postlane doctor asks whether you are well\n"


async def check_scanner(section: ScanSection) -> Check | None:
    """Whether it calls harmless bytes clean; None where no scanner is configured."""
    engine = engine_of(section)
    if engine is None:
        return None
    try:
        async with asyncio.timeout(section.seconds_max):
            verdict, detail = await engine.examine(HARMLESS)
    except ScannerFailed as error:
        return _fails(str(error))
    except TimeoutError:
        return _fails(f"{engine.name} does not answer within {section.seconds_max:g} s")
    if verdict is not ScanVerdict.CLEAN:
        return _fails(f"{engine.name} calls harmless bytes {verdict.value}: {detail}")
    return ok("scan", f"{engine.name} answers")


def _fails(detail: str) -> Check:
    return fail("scan", detail, "repair the scanner, or [scan]; until then attachments are marked ERROR")
