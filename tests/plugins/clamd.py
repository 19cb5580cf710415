"""ClamAV's daemon with a signature of our own, for tests; from Debian's package clamav-daemon."""

import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from localstack.server import Server

PROGRAM = "clamd"
START_TIMEOUT_SECONDS = 60.0
HARMLESS = b"This stands in for a virus in Postlane's tests."
SIGNATURE = "Postlane.Stand-In"


@dataclass(frozen=True, slots=True)
class ClamdServer:
    """Where it listens, and up to what size it reads."""

    socket_path: Path
    size_bytes_max: int = 1024 * 1024

    def answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(self.socket_path))
                connection.sendall(b"zPING\0")
                return connection.recv(100) == b"PONG\0"
        except OSError:
            return False


@pytest.fixture(scope="session")
def clamd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClamdServer]:
    """A clamd that finds `HARMLESS` and nothing else."""
    program = shutil.which(PROGRAM, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("clamd is missing; .ci/run installs it")
        pytest.skip("clamd is not installed (Debian: clamav-daemon)")
    folder = tmp_path_factory.mktemp("clamd")
    clamd = ClamdServer(folder / "clamd.sock")
    signatures = folder / "signatures"
    signatures.mkdir()
    (signatures / "test.ndb").write_text(f"{SIGNATURE}:0:*:{HARMLESS.hex()}\n")
    settings = {
        "LocalSocket": clamd.socket_path,
        "DatabaseDirectory": signatures,
        "StreamMaxLength": clamd.size_bytes_max,
        "TemporaryDirectory": folder,
        "Foreground": "yes",
        "MaxThreads": 4,
    }
    configuration = folder / "clamd.conf"
    configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    with Server(PROGRAM, [program, "--config-file", str(configuration)], folder / "clamd.log") as server:
        server.wait_until(clamd.answers, START_TIMEOUT_SECONDS)
        yield clamd
