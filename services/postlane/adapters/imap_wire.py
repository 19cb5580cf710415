"""One TCP connection to an IMAP server: bytes go out, whole responses come in, and its loss is noticed."""

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

from postlane.adapters.relay_tls import verifying_tls
from postlane.config.sections import Tls
from postlane.core.imap.responses import Response, read_response
from postlane.core.imap.stream import ImapSyntaxError, ResponseStream

# A peer that vanished is noticed within two minutes, also while nothing is said during IDLE.
KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_PROBES = 60, 15, 4
UNACKNOWLEDGED_MILLISECONDS = 90_000


class ImapWire(asyncio.Protocol):
    """`take` gets each response, and may raise ImapSyntaxError; `ended` is called once, with the fault or None where the server closed."""

    def __init__(
        self,
        take: Callable[[Response], None],
        ended: Callable[[Exception | None], None],
        literal_bytes_max: int,
    ) -> None:
        self._take = take
        self._ended = ended
        self._stream = ResponseStream(literal_bytes_max)
        self._clock = asyncio.get_running_loop().time
        self._transport: asyncio.Transport | None = None
        self._over = False
        self.heard_at = self._clock()
        self.received_bytes = 0

    @property
    def open(self) -> bool:
        """Whether the connection stands, as far as this side knows."""
        return self._transport is not None and not self._over

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on."""
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is not None

    @property
    def peer(self) -> str:
        """The server's IP address; empty where there is none."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(name[0]) if isinstance(name, tuple) else ""

    async def connect(self, host: str, port: int, tls: ssl.SSLContext | None, seconds: float) -> None:
        """Raises OSError (ssl.SSLError, too), TimeoutError, ValueError for names that cannot be."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            await loop.create_connection(
                lambda: self, host, port, ssl=tls, server_hostname=None if tls is None else host
            )

    async def start_tls(self, host: str, tls: ssl.SSLContext, seconds: float) -> None:
        """Encrypt from here on. Raises OSError, TimeoutError, ImapSyntaxError where something was said in clear behind the agreement."""
        if self._stream.holds_bytes:
            # Whoever sits in between could say something in the server's name (CVE-2011-0411).
            raise ImapSyntaxError("says something in clear behind its answer to STARTTLS")
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            transport = await loop.start_tls(self._transport, self, tls, server_hostname=host)
        if transport is None:
            raise ConnectionResetError("the connection was lost")
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Send; what the server does not take is found by the deadline of the command."""
        if self._transport is not None and not self._over:
            self._transport.write(data)

    def cut(self) -> None:
        """End the connection at once; `ended` is not called any more."""
        self._over = True
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the system look for dead peers as well; deadlines find them first."""
        self._transport = cast("asyncio.Transport", transport)
        if self._over:
            self._transport.abort()
            return
        connection = transport.get_extra_info("socket")
        if connection is None:
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECONDS),
            ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_SECONDS),
            ("TCP_KEEPCNT", KEEPALIVE_PROBES),
            ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MILLISECONDS),
        ):
            if hasattr(socket, option):  # not every system has all of them
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def data_received(self, data: bytes) -> None:
        """Hand on what is whole; the first senseless word ends the connection."""
        self.heard_at = self._clock()
        self.received_bytes += len(data)
        try:
            for fragments in self._stream.feed(data):
                response = read_response(fragments)
                if response is not None and not self._over:
                    self._take(response)
        except ImapSyntaxError as error:
            self._end(error)

    def eof_received(self) -> bool:
        """The server has said its last."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._end(exc)

    def _end(self, fault: Exception | None) -> None:
        if self._over:
            return
        self.cut()
        self._ended(fault)


def trusted_tls(tls: Tls, ca_file: Path | None) -> ssl.SSLContext | None:
    """What a connection must have, None for none; shared by all connections, for it holds a copy of the certificates. Raises ConfigError."""
    if tls is Tls.NONE:
        return None
    changed_ns = ca_file.stat().st_mtime_ns if ca_file is not None and ca_file.exists() else 0
    return _verifying(ca_file, changed_ns)


@functools.lru_cache(maxsize=32)
def _verifying(ca_file: Path | None, changed_ns: int) -> ssl.SSLContext:
    del changed_ns  # a file that was replaced is read again
    return verifying_tls("ca_file", ca_file)


def describe_fault(fault: BaseException | None) -> str:
    """What broke a connection, for people; it goes on after the name of the server."""
    match fault:
        case None:
            words = "the server closed the connection"
        case ssl.SSLCertVerificationError():
            words = f"the server's certificate is not trusted ({fault.verify_message})"
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
            words = "the server does not speak TLS on this port; check port and tls"
        case ssl.SSLError():
            words = f"TLS failed ({fault.reason or fault})"
        case TimeoutError():
            words = "no answer in time"
        case ConnectionRefusedError():
            words = "connection refused"
        case OSError():
            words = fault.strerror or str(fault) or type(fault).__name__
        case _:
            words = f"{type(fault).__name__}: {fault}"
    return words
