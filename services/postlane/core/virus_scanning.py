"""What a virus scanner's answer means, and when a scanner that does not answer is left alone for a while.

Pure: a clock's time is an argument. Nothing here decides about a mail: an attachment is marked, never dropped.
"""

import re
from dataclasses import dataclass, replace

from postlane.core.events.received import Scan, ScanVerdict

DETAIL_CHARACTERS_MAX = 100  # up to 200 attachments' verdicts must fit into an event
FAILURES_MAX = 3  # so many in a row are no accident
REST_SECONDS = 30.0  # a signature update that restarts a scanner takes about as long

# clamd(8), INSTREAM: `stream: OK`, `stream: NAME FOUND`, `... ERROR`, each with a trailing NUL.
_CLAMD_REPLY = re.compile(r"(?:[^:]*: )?(?:(?P<words>.*) )?(?P<end>OK|FOUND|ERROR)")
_CLAMD_TOO_LARGE = "size limit exceeded"
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


class ScannerFailed(Exception):
    """The scanner cannot be asked, or did not answer in time; the text says what happened."""


def clamd_verdict(reply: bytes) -> tuple[ScanVerdict, str]:
    """Verdict and detail of clamd's reply to INSTREAM. Raises ScannerFailed for what is no reply."""
    text = _printable(reply.partition(b"\0")[0])
    found = _CLAMD_REPLY.fullmatch(text)
    if found is None:
        raise ScannerFailed(f"it answered {text!r}, which is no verdict" if text else "it gave no answer")
    words = found["words"] or ""
    match found["end"]:
        case "OK":
            return ScanVerdict.CLEAN, ""
        case "FOUND":
            return ScanVerdict.INFECTED, words
        case _ if _CLAMD_TOO_LARGE in text:
            return ScanVerdict.SKIPPED, "larger than StreamMaxLength of clamd"
        case _:
            return ScanVerdict.ERROR, words


def command_verdict(exit_code: int, output: bytes) -> tuple[ScanVerdict, str]:
    """Verdict and detail of a command, by the convention of clamscan(1): 0 clean, 1 infected, others could not say.

    The first line that it prints is the detail.
    """
    first = _printable(output.lstrip().partition(b"\n")[0])
    match exit_code:
        case 0:
            return ScanVerdict.CLEAN, ""
        case 1:
            return ScanVerdict.INFECTED, first
        case _:
            return ScanVerdict.ERROR, first or f"exit code {exit_code}"


def scan_of(verdict: ScanVerdict, detail: str, engine: str) -> Scan:
    """As the event carries it."""
    return Scan(verdict=verdict, detail=detail[:DETAIL_CHARACTERS_MAX], engine=engine[:DETAIL_CHARACTERS_MAX])


@dataclass(frozen=True, slots=True)
class ScannerTrust:
    """How the scanner has answered of late. After some failures in a row it is left alone, then asked about one content."""

    failures: int = 0
    rests_until: float | None = None
    probing: bool = False

    @property
    def works(self) -> bool:
        """Whether it is asked as usual."""
        return self.failures < FAILURES_MAX

    def may_ask(self, now: float) -> bool:
        """Whether a content may be given to it; `asked` must follow."""
        return self.works or (not self.probing and self.rests_until is not None and now >= self.rests_until)

    def asked(self) -> "ScannerTrust":
        """A content has been given to it."""
        return self if self.works else replace(self, probing=True)

    def answered(self) -> "ScannerTrust":
        """It gave a verdict, whichever."""
        return ScannerTrust()

    def failed(self, now: float) -> "ScannerTrust":
        """It could not be asked, or did not answer in time."""
        failures = min(self.failures + 1, FAILURES_MAX)
        return ScannerTrust(failures, now + REST_SECONDS if failures == FAILURES_MAX else None)

    def given_up(self) -> "ScannerTrust":
        """The question was taken back before there was an answer: nothing is known, and another may be asked."""
        return replace(self, probing=False)


def _printable(raw: bytes) -> str:
    return _UNPRINTABLE.sub(" ", raw[:1000].decode("ascii", "replace")).strip()
