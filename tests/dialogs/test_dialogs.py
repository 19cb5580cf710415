"""The real sink holds each conversation in this folder, and the attempt means what the file says at its end."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from dialogs.scripted_smtp import ScriptedSmtp, read_dialog
from fakes.token_server import CLIENT_ID, CLIENT_SECRET, TokenServer
from postlane.adapters.smtp_rules_file import load_classifier
from postlane.adapters.smtp_sink import SmtpSink
from postlane.config.relay_section import RelaySection
from postlane.core.smtp.attempt import (
    Attempted,
    Judgement,
    RecipientTrouble,
    RelayHeld,
    SenderHeld,
    describe,
    judge,
)
from postlane.core.smtp.transcript import Envelope

FOLDER = Path(__file__).parent
DIALOGS = sorted(FOLDER.glob("*.txt"))
CLASSIFY = load_classifier().classify
PASSWORD = "correct-horse-battery"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def endpoint() -> Iterator[TokenServer]:
    """Issues `access-token-number-1-xxx...`, `-2-` and so on, of which only the dialog knows what they are worth."""
    endpoint = TokenServer()
    endpoint.start()
    yield endpoint
    endpoint.stop()


def server_tls(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context


@pytest.mark.parametrize("path", DIALOGS, ids=lambda path: path.stem)
async def test_a_dialog(path: Path, authority: trustme.CA, ca_file: Path, endpoint: TokenServer) -> None:
    dialog = read_dialog(path)
    names = {"certificate_host": "127.0.0.1", "trusted": True, **dialog.relay}
    server = ScriptedSmtp(dialog, server_tls(authority, names.pop("certificate_host")))
    trust = {"ca_file": ca_file} if names.pop("trusted") else {}
    defaults = {"tls": "none", "timeout_seconds": 5, "ehlo_name": "desk.example", **trust}
    port = await server.start()
    login: dict[str, object] = {"password": PASSWORD} if "username" in names else {}
    if "oauth" in names:
        client = {"token_url": endpoint.url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        login = {"oauth": client | names.pop("oauth")}
    keys = {"host": "127.0.0.1", "port": port, **defaults, **login, **names}
    sink = SmtpSink("main", RelaySection.model_validate(keys))
    envelope = Envelope(
        dialog.mail.get("sender", "desk@example.com"), tuple(dialog.mail.get("recipients", ["a@x.example"]))
    )
    message = content(dialog.mail)
    told: list[list[str]] = []
    try:
        for _ in dialog.expected:
            transcript = await sink.send(envelope, message)
            judgement = judge(transcript, envelope.recipients, CLASSIFY)
            told.append([line.replace(str(port), "PORT") for line in tell(judgement)])
    finally:
        await sink.close()
        await server.stop()
    assert told == dialog.expected
    assert server.faults == []
    assert not [secret for secret in (PASSWORD, CLIENT_SECRET, *endpoint.live) if secret in repr(told)]
    assert all(taken == message for taken in server.content)


def content(mail: dict[str, object]) -> bytes:
    to = "jürgen@x.example" if mail.get("utf8_header") else "a@x.example"
    head = f"Subject: x\r\nTo: {to}\r\n\r\n".encode()
    size = mail.get("bytes", 0)
    assert isinstance(size, int)
    return head + b".a line\r\n" * max(1, (size - len(head)) // 9)


def tell(judgement: Judgement) -> list[str]:
    """The judgement as the files write it."""
    match judgement:
        case RelayHeld() as held:
            auth = " auth" if held.auth else ""
            wait = "" if held.wait_seconds is None else f" wait {held.wait_seconds:g}"
            return [f"held {held.cause}{auth}{wait}: {describe(held.reply)}"]
        case SenderHeld() as refused:
            return [f"sender held {refused.cause} wait {refused.wait_seconds:g}: {describe(refused.reply)}"]
        case Attempted() as attempted:
            return [
                *(f"delivered {address}" for address in attempted.delivered),
                *(f"waiting {trouble(one)}" for one in attempted.waiting),
                *(f"failed {trouble(one)}" for one in attempted.failed),
                *([f"accepted {describe(attempted.accepted)}"] if attempted.accepted else []),
                *(["unknown"] if attempted.unknown else []),
            ]


def trouble(one: RecipientTrouble) -> str:
    wait = "" if one.wait_seconds is None else f" wait {one.wait_seconds:g}"
    return f"{one.address} {one.cause}{wait}: {describe(one.answer)}"


def test_there_are_dialogs() -> None:
    assert len(DIALOGS) >= 30


def test_a_line_that_means_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("X: what\n")
    with pytest.raises(ValueError, match="means nothing"):
        read_dialog(path)
