"""TLS to a relay: versions, names, our own certificate, against a real server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from postlane.adapters.relay_tls import relay_tls
from postlane.adapters.smtp_link import SmtpLink, Stopped
from postlane.config.relay_section import RelaySection
from postlane.config.sections import Tls
from postlane.config.settings import ConfigError
from postlane.core.smtp.transcript import Answer, Lost, Phase


@dataclass
class TlsRelay:
    """An SMTP server, by STARTTLS or from the first byte; `names` are what clients asked for by SNI."""

    authority: trustme.CA
    tls: Tls
    context: ssl.SSLContext
    names: list[str | None] = field(default_factory=list)
    client_names: list[object] = field(default_factory=list)
    server: asyncio.Server | None = None

    async def start(self) -> int:
        self.context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        implicit = self.context if self.tls is Tls.IMPLICIT else None
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=implicit)
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 hi\r\n")
            while line := await reader.readline():
                if line.startswith(b"STARTTLS"):
                    writer.write(b"220 Go ahead\r\n")
                    await writer.start_tls(self.context)
                    continue
                if (peer := writer.get_extra_info("peercert")) is not None:
                    self.client_names.append(peer["subject"])
                offer = b"STARTTLS" if self.tls is Tls.STARTTLS else b"8BITMIME"
                writer.write(b"250-relay.example\r\n250 " + offer + b"\r\n")
        except OSError:
            pass  # the handshake failed, which the client tells
        finally:
            writer.close()


@pytest.fixture(params=[Tls.STARTTLS, Tls.IMPLICIT])
async def relay(request: pytest.FixtureRequest) -> AsyncIterator[TlsRelay]:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    relay = TlsRelay(authority, request.param, context)
    yield relay
    assert relay.server is not None
    relay.server.close()


async def opened(relay: TlsRelay, folder: Path, **keys: object) -> Answer | None:
    """What forbids a session, if anything does."""
    relay.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    section = {
        "host": "localhost",
        "port": await relay.start(),
        "tls": relay.tls,
        "ca_file": folder / "ca.pem",
    }
    settings = RelaySection.model_validate({**section, "timeout_seconds": 5, **keys})
    link = SmtpLink(settings, "desk.example", relay_tls("main", settings))
    try:
        await link.open()
    except Stopped as stop:
        return stop.answer
    else:
        return None
    finally:
        link.cut()


async def test_the_relay_is_asked_for_and_checked_by_its_name(relay: TlsRelay, tmp_path: Path) -> None:
    assert await opened(relay, tmp_path) is None
    assert relay.names == ["localhost"]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(relay: TlsRelay, tmp_path: Path) -> None:
    relay.context.set_ciphers("ALL:@SECLEVEL=0")
    relay.context.minimum_version = ssl.TLSVersion.TLSv1
    relay.context.maximum_version = ssl.TLSVersion.TLSv1_1
    answer = await opened(relay, tmp_path)
    assert isinstance(answer, Lost)
    assert answer.phase is Phase.TLS
    assert answer.error.startswith("the relay ")


def test_a_lower_default_of_the_system_is_not_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def lowered(cafile: Path | None = None) -> ssl.SSLContext:
        del cafile
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        return context

    monkeypatch.setattr("ssl.create_default_context", lowered)
    context = relay_tls("main", RelaySection(host="h"))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("apart", [True, False])
async def test_our_own_certificate_is_shown(relay: TlsRelay, tmp_path: Path, apart: bool) -> None:
    relay.context.verify_mode = ssl.CERT_REQUIRED
    relay.authority.configure_trust(relay.context)
    issued = relay.authority.issue_cert("desk.example", common_name="desk.example")
    pem, key = tmp_path / "client.pem", tmp_path / "client.key"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(pem))
    issued.private_key_pem.write_to_path(str(key if apart else pem), append=not apart)
    keys = {"client_certificate_file": pem} | ({"client_key_file": key} if apart else {})
    assert await opened(relay, tmp_path, **keys) is None
    assert "desk.example" in str(relay.client_names)


async def test_a_relay_that_wants_a_certificate_says_so(relay: TlsRelay, tmp_path: Path) -> None:
    relay.context.verify_mode = ssl.CERT_REQUIRED
    relay.authority.configure_trust(relay.context)
    answer = await opened(relay, tmp_path)
    assert isinstance(answer, Lost)


def test_an_encrypted_key_is_refused_and_no_terminal_is_asked(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("desk.example")
    pem, key = tmp_path / "client.pem", tmp_path / "client.key"
    issued.cert_chain_pems[0].write_to_path(str(pem))
    plain = load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    key.write_bytes(locked)
    section = RelaySection(host="h", client_certificate_file=pem, client_key_file=key)
    with pytest.raises(ConfigError, match=r"client_certificate_file: .*with the key .* cannot be used"):
        relay_tls("main", section)


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    section = RelaySection(host="h", client_certificate_file=tmp_path / "none.pem")
    with pytest.raises(
        ConfigError, match=r"relays\.main\.client_certificate_file: .*none\.pem cannot be used"
    ):
        relay_tls("main", section)
