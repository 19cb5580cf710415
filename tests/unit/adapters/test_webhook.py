"""The webhook against a real HTTP server: what it sends, what it makes of answers, what it never tells."""

import asyncio
import hmac
import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from fakes.alert_receiver import AlertReceiver
from postlane.adapters.notice_channel import Away, Refused, Told
from postlane.adapters.webhook import Webhook
from postlane.config.notify_section import WebhookSection
from postlane.config.settings import ConfigError
from postlane.core.alerts.catalogue import AlertName
from postlane.core.alerts.notice import Notice, notice
from postlane.core.alerts.raising import Alert, Condition, Raise

KEY = "whsec_" + "QUJD" * 8
T0 = 1_800_000_000.0


def a_notice() -> Notice:
    condition = Condition(
        alert=AlertName.RELAY_HELD,
        subject="größe",
        since=T0,
        cause="quota",
        reason="550 5.4.5 Tageslimit überschritten",
    )
    return notice(Raise(Alert(condition, T0)), T0, instance="host-1")


def webhook(url: str, **fields: Any) -> Webhook:
    section = WebhookSection.model_validate({"url": url, "timeout_seconds": 5} | fields)
    return Webhook(section, clock=lambda: T0 + 5.7)


@pytest.fixture
def receiver() -> Iterator[AlertReceiver]:
    receiver = AlertReceiver()
    yield receiver
    receiver.stop()


async def test_it_posts_the_signed_document(receiver: AlertReceiver) -> None:
    told = a_notice()
    hook = webhook(receiver.url, signing_secret=KEY, headers={"Authorization": "Bearer t"})
    assert await hook.tell(told) == Told()
    (request,) = receiver.requests
    assert request.path == "/hook/a-secret-path"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer t"
    assert request.document["data"]["reason"] == "550 5.4.5 Tageslimit überschritten"
    assert (request.headers["webhook-id"], request.headers["webhook-timestamp"]) == (told.id, "1800000005")
    version, _, signature = request.headers["webhook-signature"].partition(",")
    signed = f"{told.id}.1800000005.".encode() + request.body
    assert (version, b64decode(signature)) == ("v1", hmac.digest(b"ABC" * 8, signed, "sha256"))


async def test_without_a_key_nothing_is_signed(receiver: AlertReceiver) -> None:
    await webhook(receiver.url).tell(a_notice())
    assert "webhook-signature" not in receiver.requests[0].headers


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Told()),
        (202, Told()),
        (400, Refused("127.0.0.1 answers 400")),
        (401, Refused("127.0.0.1 answers 401")),
        (404, Refused("127.0.0.1 answers 404")),
        (408, Away("127.0.0.1 answers 408")),
        (429, Away("127.0.0.1 answers 429")),
        (500, Away("127.0.0.1 answers 500")),
        (503, Away("127.0.0.1 answers 503")),
    ],
)
async def test_what_answers_mean(receiver: AlertReceiver, status: int, outcome: object) -> None:
    receiver.status = status
    assert await webhook(receiver.url).tell(a_notice()) == outcome


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(receiver: AlertReceiver, status: int) -> None:
    receiver.status, receiver.location = status, receiver.url.replace("hook", "elsewhere")
    outcome = await webhook(receiver.url).tell(a_notice())
    assert isinstance(outcome, Refused)
    assert "not followed" in outcome.words
    assert len(receiver.requests) == 1


async def test_nobody_listens(receiver: AlertReceiver) -> None:
    receiver.stop()
    outcome = await webhook(receiver.url).tell(a_notice())
    assert outcome == Away("127.0.0.1 cannot be reached: Connection refused")


async def test_one_that_never_answers_is_asked_by_one_thread(receiver: AlertReceiver) -> None:
    receiver.held = threading.Event()
    hook = webhook(receiver.url, timeout_seconds=0.05)
    assert await hook.tell(a_notice()) == Away("127.0.0.1 does not answer within 0.05 s")
    receiver.held.set()


async def test_one_that_answers_in_drips_is_not_waited_for() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            while not over.wait(0.02):
                connection.sendall(b"X")

    dripping = threading.Thread(target=drip)
    dripping.start()
    hook = webhook(f"http://127.0.0.1:{listener.getsockname()[1]}/x", timeout_seconds=0.1)
    assert await hook.tell(a_notice()) == Away("127.0.0.1 does not answer within 0.1 s")
    assert await hook.tell(a_notice()) == Away("127.0.0.1 still holds the request before this one")
    over.set()
    dripping.join()
    listener.close()


async def test_one_that_does_not_speak_http() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP a-secret-path\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await webhook(f"http://127.0.0.1:{port}/hook").tell(a_notice())
    assert outcome == Away("127.0.0.1 does not answer as an HTTP server: BadStatusLine")


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ours.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    receiver = AlertReceiver(tls)
    try:
        refused = await webhook(receiver.url, ca_file=tmp_path / "other.pem").tell(a_notice())
        assert isinstance(refused, Away)
        assert "certificate is not trusted" in refused.words
        assert receiver.requests == []
        assert await webhook(receiver.url, ca_file=tmp_path / "ours.pem").tell(a_notice()) == Told()
    finally:
        receiver.stop()


def test_a_bad_certificate_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"notify\.webhook\.ca_file: .*none\.pem cannot be used"):
        webhook("https://alerts.example", ca_file=tmp_path / "none.pem")


async def test_no_outcome_names_the_address(receiver: AlertReceiver) -> None:
    outcomes = []
    for status in (204, 302, 404, 500):
        receiver.status = status
        outcomes.append(await webhook(receiver.url).tell(a_notice()))
    receiver.stop()
    outcomes.append(await webhook(receiver.url).tell(a_notice()))
    outcomes.append(await webhook("http://no-such-host.invalid/a-secret-path").tell(a_notice()))
    assert "a-secret-path" not in str(outcomes)
