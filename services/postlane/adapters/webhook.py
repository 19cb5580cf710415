"""Alerts by HTTP: one POST with the standard library's client (docs/decisions/0013), signed as Standard Webhooks describes.

It blocks, so it runs in a thread, at most one at a time; a daemon, so that a receiver that never answers delays no stop. Redirects are not
followed: address and headers are secrets, and meant for one host. Proxies are those of the environment, except for this machine.
"""

import asyncio
import hmac
import json
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from http.client import HTTPException
from urllib.error import URLError
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from postlane.adapters.notice_channel import Away, Outcome, Refused, Told
from postlane.adapters.relay_tls import verifying_tls
from postlane.config.notify_section import WebhookSection
from postlane.core.alerts.notice import Notice, document
from postlane.ports import Clock

# RFC 9110 section 15.5.9, RFC 8470, RFC 6585 section 4: worth another try, as every 5xx is.
STATUSES_TO_REPEAT = frozenset({408, 425, 429})


class Webhook:
    """The receiver of `[notify.webhook]`. Raises ConfigError for a certificate file that cannot be used."""

    name = "webhook"

    def __init__(self, section: WebhookSection, *, clock: Clock = time.time) -> None:
        self._section = section
        self._clock = clock
        self._opener = OpenerDirector()
        self._thread: threading.Thread | None = None
        tls = verifying_tls("notify.webhook.ca_file", section.ca_file)
        proxies = ProxyHandler({}) if section.stays_here else ProxyHandler()
        # No handler for redirects and errors: every answer comes back as it is.
        for handler in (proxies, HTTPHandler(), HTTPSHandler(context=tls)):
            self._opener.add_handler(handler)

    async def tell(self, notice: Notice) -> Outcome:
        """See NoticeChannel."""
        if self._thread is not None and self._thread.is_alive():
            return Away(f"{self._section.host} still holds the request before this one")
        body = json.dumps(document(notice), ensure_ascii=False).encode()
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(
            target=_answer, args=(answer, lambda: self._post(notice.id, body)), name="webhook", daemon=True
        )
        self._thread.start()
        try:
            async with asyncio.timeout(2 * self._section.timeout_seconds):  # the socket's is for each read
                return await answer
        except TimeoutError:
            return Away(self._silence())

    async def close(self) -> None:
        """See NoticeChannel; a request on its way ends with its thread."""

    def _post(self, notice_id: str, body: bytes) -> Outcome:
        host = self._section.host
        try:
            with self._opener.open(
                self._request(notice_id, body), timeout=self._section.timeout_seconds
            ) as reply:
                status: int = reply.status
        except TimeoutError:
            return Away(self._silence())
        except URLError as error:
            return Away(f"{host} cannot be reached: {_cause(error.reason)}")
        except (OSError, HTTPException, ValueError) as error:
            return Away(f"{host} does not answer as an HTTP server: {type(error).__name__}")
        if 200 <= status <= 299:
            return Told()
        if 300 <= status <= 399:
            return Refused(
                f"{host} answers {status}, a redirect, which is not followed: set the address it leads to"
            )
        words = f"{host} answers {status}"
        return Away(words) if status >= 500 or status in STATUSES_TO_REPEAT else Refused(words)

    def _silence(self) -> str:
        return f"{self._section.host} does not answer within {self._section.timeout_seconds:g} s"

    def _request(self, notice_id: str, body: bytes) -> Request:
        headers = {"Content-Type": "application/json", "User-Agent": "postlane"}
        headers |= {name: value.get_secret_value() for name, value in self._section.headers.items()}
        headers |= signature_headers(self._section.signing_key, notice_id, int(self._clock()), body)
        # The scheme was checked when the configuration was read, and this opener knows no other.
        return Request(self._section.url.get_secret_value(), body, headers, method="POST")  # noqa: S310


def signature_headers(key: bytes | None, notice_id: str, at: int, body: bytes) -> dict[str, str]:
    """Standard Webhooks' headers: id, time, and with a key the HMAC-SHA256 of both and the body."""
    headers = {"Webhook-Id": notice_id, "Webhook-Timestamp": str(at)}
    if key is not None:
        signed = hmac.digest(key, f"{notice_id}.{at}.".encode() + body, "sha256")
        headers["Webhook-Signature"] = f"v1,{b64encode(signed).decode()}"
    return headers


def _cause(reason: object) -> str:
    """Words of ours or of the system, never of the address."""
    match reason:
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {reason.verify_message}"
        case OSError() if reason.strerror:
            return reason.strerror
        case _:
            return type(reason).__name__


def _answer(answer: asyncio.Future[Outcome], post: Callable[[], Outcome]) -> None:
    """Run in the thread, and bring the outcome to the event loop, where that still turns."""
    try:
        outcome = post()
    except Exception as error:  # noqa: BLE001 - its words may hold the address; a fault of ours must not end in silence
        outcome = Away(f"could not be asked: {type(error).__name__}, a fault of Postlane")
    try:
        answer.get_loop().call_soon_threadsafe(_set, answer, outcome)
    except RuntimeError:
        return  # the loop has closed: nobody waits any more


def _set(answer: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not answer.done():
        answer.set_result(outcome)
