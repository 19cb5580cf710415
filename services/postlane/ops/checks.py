"""What `postlane doctor` finds: one result per check, with what to do where it failed."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check came out; a warning needs a look but stops nothing."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Check:
    """`detail` says what was seen, `advice` what to do about it."""

    name: str
    state: State
    detail: str
    advice: str = ""


def ok(name: str, detail: str) -> Check:
    """All is well."""
    return Check(name, State.OK, detail)


def warn(name: str, detail: str, advice: str) -> Check:
    """It works, and yet."""
    return Check(name, State.WARN, detail, advice)


def fail(name: str, detail: str, advice: str) -> Check:
    """It cannot work like this."""
    return Check(name, State.FAIL, detail, advice)


def skip(name: str, detail: str) -> Check:
    """It could not be looked at."""
    return Check(name, State.SKIP, detail)
