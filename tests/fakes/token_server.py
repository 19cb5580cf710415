"""A real small token endpoint (RFC 6749): checks clients and grants, issues tokens, and misbehaves on order."""

import base64
import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

CLIENT_ID = "postlane-desk"
CLIENT_SECRET = "client-secret/with+odd=characters"
FIRST_REFRESH = "refresh-token-number-0-aaaaaaaaaaaaaaaa"


@dataclass(slots=True)
class TokenScript:
    """Tests change it between requests.

    `error`: refuse with this error code. `raw`: (status, content type, body) in place of any answer. `held`: say nothing until it is set.
    `extra`: further members of a token reply. `rotates`: a new refresh token with each use, the old one is dead.
    """

    lifetime_seconds: int | str | None = 3600
    error: str | None = None
    error_status: int = 400
    raw: tuple[int, str, bytes] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    held: threading.Event | None = None
    rotates: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


class TokenServer(ThreadingHTTPServer):
    """`live` are the access tokens that a relay should take; `requests` the forms that came, `asked_at_once_max` how many together."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), TokenHandler)
        self.script = TokenScript()
        self.live: set[str] = set()
        self.refresh_token = FIRST_REFRESH
        self.requests: list[dict[str, str]] = []
        self.basic: list[str] = []
        self.issued = 0
        self.asking = 0
        self.asked_at_once_max = 0
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.server_address[1]}/oauth2/v2.0/token"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self.script.held is not None:
            self.script.held.set()
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that do not trust us, or go away, are part of the tests."""


class TokenHandler(BaseHTTPRequestHandler):
    server: TokenServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server, script = self.server, self.server.script
        server.asking += 1
        server.asked_at_once_max = max(server.asked_at_once_max, server.asking)
        try:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            server.requests.append(form)
            if script.held is not None:
                script.held.wait(30)
            if script.raw is not None:
                self.answer(*script.raw)
            elif script.error is not None:
                self.refuse(script.error_status, script.error)
            else:
                self.grant(form)
        finally:
            server.asking -= 1

    def grant(self, form: dict[str, str]) -> None:
        server, script = self.server, self.server.script
        if self.client(form) != (CLIENT_ID, CLIENT_SECRET):
            self.refuse(401, "invalid_client")
            return
        kind = form["grant_type"]
        if kind == "refresh_token" and form["refresh_token"] != server.refresh_token:
            self.refuse(400, "invalid_grant")
            return
        server.issued += 1
        token = f"access-token-number-{server.issued}-{'x' * 40}"
        server.live.add(token)
        said: dict[str, Any] = {"access_token": token, "token_type": "Bearer", **script.extra}
        if script.lifetime_seconds is not None:
            said["expires_in"] = script.lifetime_seconds
        if kind == "refresh_token" and script.rotates:
            server.refresh_token = f"refresh-token-number-{server.issued}-{'b' * 20}"
            said["refresh_token"] = server.refresh_token
        self.answer(200, "application/json;charset=UTF-8", json.dumps(said).encode())

    def client(self, form: dict[str, str]) -> tuple[str, str]:
        header = self.headers.get("Authorization", "")
        if not header.startswith("Basic "):
            return form.get("client_id", ""), form.get("client_secret", "")
        self.server.basic.append(header)
        name, _, secret = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
        return unquote_plus(name), unquote_plus(secret)

    def refuse(self, status: int, error: str) -> None:
        """Say no, and be as talkative as can be: repeat everything that was sent."""
        form = self.server.requests[-1]
        description = f"AADSTS70000: {error} for {form} {self.headers.get('Authorization')}"
        body = json.dumps({"error": error, "error_description": description}).encode()
        self.answer(status, "application/json", body)

    def answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        for name, value in self.server.script.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name in the standard library)
        """Say nothing."""
