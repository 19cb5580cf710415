"""Keeps librdkafka's log readable: while a broker is away, each of its many clients says so several times a second."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

QUIET_SECONDS = 60.0
KINDS_MAX = 200  # of lines that are remembered; a log has far fewer

_WHO = re.compile(r"\[[^\]]*\]")  # client and thread: all clients tell of one broker
_NUMBER = re.compile(r"\d+")


@dataclass(slots=True)
class _Kind:
    said_at: float
    held_back: int = 0


class RepeatedLines(logging.Filter):
    """Lets a line pass once a minute however many clients write it; then it says how many were held back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        now, text = self._clock(), record.getMessage()
        key = _NUMBER.sub("", _WHO.sub("", text))
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= KINDS_MAX:
                self._kinds.clear()
            self._kinds[key] = _Kind(now)
            return True
        if now - kind.said_at < QUIET_SECONDS:
            kind.held_back += 1
            return False
        if kind.held_back:
            record.msg, record.args = f"{text} ({kind.held_back} more like this in the last minute or so)", ()
        self._kinds[key] = _Kind(now)
        return True
