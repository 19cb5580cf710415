"""How commands end: the exit codes, and the fault that carries one."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command, documented in `postlane --help`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    KAFKA = 3
    NOT_FOUND = 4


EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 failed, or problems were found; 2 wrong usage or configuration; "
    "3 Kafka does not answer or a topic is missing; 4 what was asked for is not there. "
    "Data goes to stdout, everything else to stderr; --json prints JSON with stable keys."
)


class CommandFailed(Exception):
    """A command ends with one clear line for the person and an exit code for the script."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code
