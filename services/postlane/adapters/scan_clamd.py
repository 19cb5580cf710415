"""ClamAV's daemon as a scanner: INSTREAM over its Unix or TCP socket (clamd(8)), one connection per content.

Bare sockets, because clamd may answer (too large) and close while it is still being sent to: the event loop's streams, and with them the
libraries for clamd, then throw its answer away.
"""

import asyncio
import contextlib
import socket
import struct

from postlane.core.events.received import ScanVerdict
from postlane.core.virus_scanning import ScannerFailed, clamd_verdict

COMMAND = b"zINSTREAM\0"  # z: command and reply end with NUL
CHUNK_BYTES = 64 * 1024
REPLY_BYTES_MAX = 4096  # a signature's name is a few dozen
_LENGTH = struct.Struct(">I")


class Clamd:
    """`address` is the path of a Unix socket, or host:port."""

    name = "clamd"

    def __init__(self, address: str) -> None:
        self._address = address

    async def examine(self, content: bytes) -> tuple[ScanVerdict, str]:
        """Verdict and detail; may take for ever. Raises ScannerFailed."""
        try:
            connection = await self._connected()
        except (OSError, UnicodeError) as error:  # the latter for host names that cannot be
            raise ScannerFailed(f"clamd cannot be reached: {_words(error)} at {self._address}") from None
        with connection:
            try:
                with contextlib.suppress(ConnectionError):  # what it has answered before that counts
                    await _send(connection, content)
                return clamd_verdict(await _reply(connection))
            except OSError as error:
                raise ScannerFailed(f"clamd cut the connection: {_words(error)}") from None

    async def _connected(self) -> socket.socket:
        if self._address.startswith("/"):
            return await _connect(socket.AF_UNIX, self._address)
        host, _, port = self._address.rpartition(":")
        found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        fault: OSError | None = None
        for family, _, _, _, place in found:
            try:
                return await _connect(family, place)
            except OSError as error:
                fault = error
        raise fault or OSError(f"{host} has no address")


async def _connect(family: int, place: object) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, place)  # type: ignore[arg-type]  # a path, or any getaddrinfo place
    except BaseException:
        connection.close()
        raise
    return connection


async def _send(connection: socket.socket, content: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, COMMAND)
    for start in range(0, len(content), CHUNK_BYTES):
        chunk = content[start : start + CHUNK_BYTES]
        await loop.sock_sendall(connection, _LENGTH.pack(len(chunk)) + chunk)
    await loop.sock_sendall(connection, _LENGTH.pack(0))


async def _reply(connection: socket.socket) -> bytes:
    """Up to the NUL, or to its closing the connection."""
    reply = b""
    while part := await asyncio.get_running_loop().sock_recv(connection, REPLY_BYTES_MAX):
        reply += part
        if b"\0" in part:
            break
        if len(reply) > REPLY_BYTES_MAX:
            raise ScannerFailed("clamd's answer is far too long to be a verdict")
    return reply


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
