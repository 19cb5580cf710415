"""What a service says about itself over HTTP: `/metrics`, `/healthz` (alive?), `/readyz` (ready, and if not, why).

The server runs in threads of its own, so that it also answers while the event loop is stuck; then it says that.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog

from postlane.adapters.metrics import CONTENT_TYPE, Metrics
from postlane.core.metrics import COMPONENT_OK
from postlane.ports import Clock

HEARTBEAT_SECONDS_MAX = 30.0  # a loop that stands longer is stuck; SMTP and Kafka waits never hold it
REQUEST_SECONDS_MAX = 5.0  # a scraper that sends nothing must not keep a thread for ever

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """Whether one part of the service is ready and, in words, why not."""

    ok: bool
    reason: str


class Health:
    """The state of a service's parts; set from any thread, read by the HTTP server. Only changes are logged."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._components: dict[str, ComponentHealth] = {}
        self._beat_at = clock()

    def set(self, component: str, ok: bool, reason: str = "") -> None:
        """Say how a component such as `kafka` or `relay:main` stands; the service is ready when all of them are ok."""
        state = ComponentHealth(ok, reason)
        with self._lock:
            before = self._components.get(component)
            self._components[component] = state
        self._metrics.gauge(COMPONENT_OK, component=component).set(ok)
        if before is None or before.ok != ok:
            (log.info if ok else log.warning)("component_health", component=component, ok=ok, reason=reason)

    def forget(self, component: str) -> None:
        """A component that is no longer ours, such as a mailbox that moved to another process."""
        with self._lock:
            self._components.pop(component, None)
        self._metrics.forget(COMPONENT_OK, component=component)

    def beat(self) -> None:
        """The event loop turns; to be called at least every few seconds."""
        self._beat_at = self._clock()

    def components(self) -> Mapping[str, ComponentHealth]:
        """A copy of what was set, by component."""
        with self._lock:
            return dict(self._components)

    def ready(self) -> bool:
        """Whether every component is ok; a service that has said nothing yet is not ready."""
        components = self.components()
        return bool(components) and all(state.ok for state in components.values())

    def stuck_seconds(self) -> float | None:
        """How long the event loop has been standing, if that is too long."""
        silence = self._clock() - self._beat_at
        return silence if silence > HEARTBEAT_SECONDS_MAX else None


class HttpHealth:
    """The HTTP server; port 0 takes any free port and `address` tells which."""

    def __init__(self, host: str, port: int, health: Health, metrics: Metrics) -> None:
        """Bind and listen. Raises OSError when the address is taken."""
        self._server = ThreadingHTTPServer((host, port), _handler(health, metrics))
        self._server.daemon_threads = True
        bound_host, bound_port = self._server.server_address[:2]
        self.address = (str(bound_host), int(bound_port))
        self._thread = threading.Thread(target=self._server.serve_forever, name="http-health", daemon=True)

    def start(self) -> None:
        """Answer requests until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and give the port back."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


@dataclass(frozen=True, slots=True)
class _Answer:
    status: HTTPStatus
    content_type: str
    body: bytes


def _handler(health: Health, metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    pages: dict[str, Callable[[], _Answer]] = {
        "/metrics": lambda: _Answer(HTTPStatus.OK, CONTENT_TYPE, metrics.exposition()),
        "/healthz": lambda: _alive(health),
        "/readyz": lambda: _readiness(health),
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS_MAX

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            self._answer(_not_found(pages) if page is None else page())

        do_HEAD = do_GET  # noqa: N815 - the base class looks for this name

        def _answer(self, answer: _Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
            log.debug("http_request", line=format % args)

    return Handler


def _alive(health: Health) -> _Answer:
    stuck_seconds = health.stuck_seconds()
    if stuck_seconds is None:
        return _json(HTTPStatus.OK, {"alive": True})
    reason = f"the event loop has been standing for {stuck_seconds:.0f} s"
    return _json(HTTPStatus.SERVICE_UNAVAILABLE, {"alive": False, "reason": reason})


def _readiness(health: Health) -> _Answer:
    ready = health.ready()
    components = {
        name: {"ok": state.ok, "reason": state.reason} for name, state in sorted(health.components().items())
    }
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return _json(status, {"ready": ready, "components": components})


def _not_found(pages: Mapping[str, object]) -> _Answer:
    return _json(HTTPStatus.NOT_FOUND, {"error": "no such page", "pages": sorted(pages)})


def _json(status: HTTPStatus, document: Mapping[str, Any]) -> _Answer:
    return _Answer(status, "application/json", json.dumps(document).encode() + b"\n")
