"""A clock that nobody sets."""

import time


def steady_clock() -> float:
    """Seconds that also count while the machine sleeps, where it can tell: a lease runs on meanwhile."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)
