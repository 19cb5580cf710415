"""A real small HTTP server that receives alerts, and misbehaves on order."""

import json
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One request; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class AlertReceiver(ThreadingHTTPServer):
    """`statuses` are the next answers, then `status`; `location` redirects; `held`: say nothing until it is set."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Received] = []
        self.statuses: list[int] = []
        self.status = 204
        self.location: str | None = None
        self.held: threading.Event | None = None
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.server_address[1]}/hook/a-secret-path"

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self.held is not None:
            self.held.set()
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that do not trust us, or go away, are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: AlertReceiver

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.requests.append(
            Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        )
        if server.held is not None:
            server.held.wait(30)
        self.send_response(server.statuses.pop(0) if server.statuses else server.status)
        if server.location is not None:
            self.send_header("Location", server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        """A redirect that was followed would come as this."""
        self.server.requests.append(Received(self.path, {}, b""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name in the standard library)
        """Say nothing."""
