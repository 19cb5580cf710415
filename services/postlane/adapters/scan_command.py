"""A command as a scanner: the content on its standard input, the verdict in its exit code."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePath
from tempfile import TemporaryFile
from typing import IO

from postlane.config.secrets import looks_secret
from postlane.config.settings import ENV_PREFIX
from postlane.core.events.received import ScanVerdict
from postlane.core.virus_scanning import ScannerFailed, command_verdict


class ScanCommand:
    """`command` is a program and its arguments; no shell reads them."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command
        self.name = PurePath(command[0]).name

    async def examine(self, content: bytes) -> tuple[ScanVerdict, str]:
        """Verdict and detail; may take for ever, and ends with all that it started when it is cancelled. Raises ScannerFailed."""
        # A file without a name: through a pipe, a command that ends before it has read everything would be a fault in uvloop.
        try:
            with await asyncio.to_thread(_file_of, content) as file:
                process = await self._started(file)
        except OSError as error:
            raise ScannerFailed(f"{self._command[0]} cannot be started: {error.strerror}") from None
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        assert process.returncode is not None
        if process.returncode < 0:
            raise ScannerFailed(f"{self.name} was ended by signal {-process.returncode}")
        return command_verdict(process.returncode, output)

    async def _started(self, file: IO[bytes]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_without_secrets(os.environ),
            start_new_session=True,
        )


def _file_of(content: bytes) -> IO[bytes]:
    file = TemporaryFile()  # noqa: SIM115 - whoever reads it closes it
    try:
        file.write(content)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """A scanner reads hostile files: what it does not need to know, it is not told."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(ENV_PREFIX) and not looks_secret(name)
    }
