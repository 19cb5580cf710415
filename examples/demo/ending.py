"""What ends the demo before its time: Ctrl-C, SIGTERM, SIGHUP, or the death of whoever started it."""

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType

WORDS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP, or the starter is gone"}
PARENT_POLL_SECONDS = 0.5


class Ended(BaseException):
    """Unwinds what is going on, as KeyboardInterrupt does."""


class Ending:
    """The first signal is told and raised as Ended; later ones change nothing, so that the clean-up is done whole."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._deferred = False

    @property
    def exit_code(self) -> int | None:
        """128 + signal number, as a shell has it; None while there was none."""
        return None if self.number is None else 128 + self.number

    def listen(self) -> None:
        """From now on. A signal that our starter ignores (nohup, a shell's `&`) stays ignored."""
        for number in WORDS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        threading.Thread(target=_hang_up_as_an_orphan, args=(os.getppid(),), daemon=True).start()

    def defer(self) -> None:
        """Only the clean-up is left: a signal is told, but interrupts nothing any more."""
        self._deferred = True

    def check(self) -> None:
        """Raise Ended again if a library swallowed it."""
        if self.number is not None:
            raise Ended

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.number is not None:
            return
        self.number = number
        line = f"{WORDS[signal.Signals(number)]}: stopping everything, a few seconds\n"
        with contextlib.suppress(OSError):  # no terminal any more
            os.write(sys.stderr.fileno(), f"\n{line}".encode() if sys.stderr.isatty() else line.encode())
        if not self._deferred:
            raise Ended


def _hang_up_as_an_orphan(parent: int) -> None:
    """A killed `make` tells us nothing. Under nohup SIGHUP is ignored, and so the orphan lives on."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    signal.pthread_kill(main_thread, signal.SIGHUP)
