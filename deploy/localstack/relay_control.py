"""The relay's HTTP control: read what it took and refused, change its rules while it runs. JSON, 127.0.0.1 only.

    GET  /health                     GET    /state          recipients, quota, faults, counts
    GET  /mails?after=N              GET    /mails/N        the raw mail
    GET  /refusals?after=N           PUT    /recipients     {"recipients": ["*@a.test"]}
    PUT  /quota   {"mails": 5, ...}  DELETE /quota
    POST /faults  {"phase": ...}     DELETE /faults
    POST /reset                      drop the quota, the faults and the records; recipients stay

Bad input is answered with 400 and {"error": ...}.
"""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from localstack.ports import HOST
from localstack.relay_journal import RelayJournal
from localstack.relay_policy import Act, Fault, Phase, Quota, RelayPolicy

LOOP_TIMEOUT_SECONDS = 5.0
BODY_LIMIT_BYTES = 1024 * 1024
RAW_MAIL = re.compile(r"/mails/([0-9]{1,15})")

Json = dict[str, Any]
Answer = Json | bytes
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """One HTTP request, taken apart."""

    method: str
    path: str
    query: dict[str, int]
    body: Json

    @property
    def after(self) -> int:
        return self.query.get("after", 0)


class ControlDesk:
    """Carries out the orders, free of HTTP."""

    def __init__(self, policy: RelayPolicy, journal: RelayJournal) -> None:
        self._policy = policy
        self._journal = journal
        self._orders: dict[tuple[str, str], Callable[[Order], Answer | None]] = {
            ("GET", "/health"): lambda _: None,
            ("GET", "/state"): self._state,
            ("GET", "/mails"): self._mails,
            ("GET", "/refusals"): self._refusals,
            ("PUT", "/recipients"): self._set_recipients,
            ("PUT", "/quota"): lambda order: policy.set_quota(_build(Quota, order.body)),
            ("DELETE", "/quota"): lambda _: policy.set_quota(None),
            ("POST", "/faults"): lambda order: policy.add_fault(_build(Fault, order.body)),
            ("DELETE", "/faults"): lambda _: policy.clear_faults(),
            ("POST", "/reset"): self._reset,
        }

    def obey(self, order: Order) -> Answer:
        """Raises LookupError for what is not there and ValueError for what makes no sense."""
        if order.method == "GET" and (raw := RAW_MAIL.fullmatch(order.path)):
            return self._raw(int(raw[1]))
        carry_out = self._orders.get((order.method, order.path))
        if carry_out is None:
            raise LookupError(f"no such order: {order.method} {order.path}")
        return carry_out(order) or {}

    def _state(self, _order: Order) -> Json:
        return {
            "recipients": self._policy.recipients,
            "quota": asdict(self._policy.quota) if self._policy.quota else None,
            "faults": [asdict(fault) for fault in self._policy.faults],
            "connections": self._journal.connections,
            "most_open": self._journal.most_open,
            "accepted": self._journal.taken,
            "refused": self._journal.refused,
        }

    def _mails(self, order: Order) -> Json:
        return {"mails": [asdict(mail) for mail in self._journal.accepted if mail.sequence > order.after]}

    def _refusals(self, order: Order) -> Json:
        return {"refusals": [asdict(step) for step in self._journal.refusals if step.sequence > order.after]}

    def _raw(self, sequence: int) -> bytes:
        raw = self._journal.raw(sequence)
        if raw is None:
            raise LookupError(f"mail {sequence} was not taken, or is no longer kept")
        return raw

    def _reset(self, _order: Order) -> None:
        self._policy.set_quota(None)
        self._policy.clear_faults()
        self._journal.forget()

    def _set_recipients(self, order: Order) -> None:
        self._policy.recipients = _patterns(order.body)


@contextmanager
def serve_control(desk: ControlDesk, port: int, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Serve in threads; every order is carried out on `loop`, which owns policy and journal."""
    server = ThreadingHTTPServer((HOST, port), partial(_Handler, desk, loop))
    thread = threading.Thread(target=server.serve_forever, name="control", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _patterns(body: Json) -> tuple[str, ...]:
    patterns = body.get("recipients")
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError("recipients: want a list of patterns such as '*@a.test'")
    return tuple(patterns)


def _build(kind: type[T], body: Json) -> T:
    """Make a Fault or a Quota from JSON. Raises ValueError, naming the field."""
    unknown = body.keys() - {item.name for item in fields(kind)}  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
    values = dict(body)
    for name, choices in (("phase", Phase), ("act", Act)):
        if name in values:
            values[name] = choices(values[name])
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(str(error)) from error


class _Handler(BaseHTTPRequestHandler):
    """HTTP in, an order out, its answer back."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def __init__(self, desk: ControlDesk, loop: asyncio.AbstractEventLoop, *connection: Any) -> None:
        self._desk = desk
        self._loop = loop
        super().__init__(*connection)

    def log_message(self, *_: object) -> None:
        """Say nothing: the relay's log is for mail."""

    def do_GET(self) -> None:
        try:
            answer = asyncio.run_coroutine_threadsafe(self._obey(self._order()), self._loop)
            self._send(HTTPStatus.OK, answer.result(LOOP_TIMEOUT_SECONDS))
        except LookupError as error:
            self._send(HTTPStatus.NOT_FOUND, {"error": str(error.args[0])})
        except ValueError as error:
            self._send(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  # the names that http.server looks for

    async def _obey(self, order: Order) -> Answer:
        return self._desk.obey(order)

    def _order(self) -> Order:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        if length > BODY_LIMIT_BYTES:
            raise ValueError(f"body of {length} bytes: want at most {BODY_LIMIT_BYTES}")
        body = json.loads(self.rfile.read(length) or b"{}")
        if not isinstance(body, dict):
            raise ValueError("want a JSON object")  # noqa: TRY004  # the sender's fault, not a programmer's
        query = {key: int(values[-1]) for key, values in parse_qs(url.query).items()}
        return Order(self.command, url.path, query, body)

    def _send(self, status: HTTPStatus, answer: Answer) -> None:
        raw = answer if isinstance(answer, bytes) else f"{json.dumps(answer)}\n".encode()
        self.send_response(status)
        self.send_header(
            "Content-Type", "message/rfc822" if isinstance(answer, bytes) else "application/json"
        )
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
