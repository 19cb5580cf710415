"""A small HTTP server that speaks the part of Confluent's schema registry that Postlane uses."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class RegistryServer(ThreadingHTTPServer):
    """Keeps schemas in memory; `fault` is answered to everything, `closed` refuses to register."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), RegistryHandler)
        self.schemas: dict[int, dict[str, Any]] = {}
        self.fault: int | None = None
        self.closed = False
        self.registrations = 0

    @property
    def url(self) -> str:
        return f"http://user:secret@127.0.0.1:{self.server_address[1]}"


class RegistryHandler(BaseHTTPRequestHandler):
    server: RegistryServer

    def do_GET(self) -> None:
        schema = self.server.schemas.get(int(self.path.split("?")[0].rsplit("/", 1)[1]))
        if schema is None:
            self.answer(404, {"error_code": 40403, "message": "Schema not found"})
        else:
            self.answer(200, schema)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        subject = self.path.split("?")[0].removeprefix("/subjects/")
        known = [number for number, each in self.server.schemas.items() if each["schema"] == body["schema"]]
        if subject.endswith("/versions"):
            self.register(body, known)
        elif known:
            found = {"subject": subject, "id": known[0], "version": 1, "schema": body["schema"]}
            self.answer(200, found)
        else:
            self.answer(404, {"error_code": 40403, "message": "Schema not found"})

    def register(self, body: dict[str, Any], known: list[int]) -> None:
        if self.server.closed:
            self.answer(409, {"error_code": 409, "message": "incompatible with an earlier schema"})
            return
        self.server.registrations += 1
        number = known[0] if known else 7 + len(self.server.schemas)
        self.server.schemas[number] = {"schema": body["schema"], "schemaType": body.get("schemaType", "AVRO")}
        self.answer(200, {"id": number})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        if self.server.fault is not None:
            status, body = self.server.fault, {"error_code": self.server.fault, "message": "broken"}
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name in the standard library)
        """Say nothing."""
