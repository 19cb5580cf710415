"""Both IMAP clients keep the MailSource contract on real servers, also without what many servers lack."""

import asyncio
import hashlib
import smtplib
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.mail_source_contract import MailSourceContract, Postbox, mail
from fakes.dovecot import PASSWORD, Dovecot, DovecotOptions, run_dovecot
from localstack.greenmail import Mailbox, MailServer
from postlane.adapters.aioimaplib_session import AioimaplibSession
from postlane.adapters.imap_account import ImapAccount
from postlane.adapters.imap_client import ImapClient, PostlaneClient
from postlane.adapters.imap_source import ImapSource
from postlane.config.sections import Tls
from postlane.ports import MailSource, MailSourceError, MailTrouble

COMMAND_SECONDS = 20.0
PART_BYTES = 2**20
MakeClient = Callable[[ImapAccount], ImapClient]


class PoorClient(PostlaneClient):
    """As if the server lacked extensions."""

    missing: frozenset[str] = frozenset()

    def can(self, capability: str) -> bool:
        return capability not in self.missing and super().can(capability)


class WithoutMove(PoorClient):
    missing = frozenset({"MOVE"})


class WithoutExtensions(PoorClient):
    missing = frozenset({"MOVE", "UIDPLUS", "IDLE"})


class GreenMailPostbox:
    def __init__(self, server: MailServer, mailbox: Mailbox, client: MakeClient = PostlaneClient) -> None:
        self._server = server
        self._mailbox = mailbox
        self._client = client

    def account(self, password: str) -> ImapAccount:
        return ImapAccount(
            host=self._server.host,
            port=self._server.imap_port,
            tls=Tls.NONE,
            username=self._mailbox.address,
            password=password,
            command_timeout_seconds=COMMAND_SECONDS,
        )

    def session(self) -> MailSource:
        return ImapSource(self._client(self.account(self._mailbox.password)))

    def wrong_password(self) -> MailSource:
        return ImapSource(self._client(self.account("wrong-password")))

    async def deliver(self, raw: bytes) -> None:
        await asyncio.to_thread(self._send, raw)

    def _send(self, raw: bytes) -> None:
        with smtplib.SMTP(self._server.host, self._server.smtp_port) as smtp:
            smtp.sendmail("ann@example.org", [self._mailbox.address], raw)


class DovecotPostbox:
    def __init__(self, server: Dovecot, user: str, client: MakeClient = PostlaneClient, **keys: Any) -> None:
        self._server = server
        self._user = user
        self._client = client
        self._keys: dict[str, Any] = {"tls": Tls.NONE, "port": server.port} | keys

    def account(self, password: str) -> ImapAccount:
        return ImapAccount(
            host=self._server.host,
            username=self._user,
            password=password,
            command_timeout_seconds=COMMAND_SECONDS,
            **self._keys,
        )

    def session(self) -> MailSource:
        return ImapSource(self._client(self.account(PASSWORD)))

    def wrong_password(self) -> MailSource:
        return ImapSource(self._client(self.account("wrong-password")))

    async def deliver(self, raw: bytes) -> None:
        await asyncio.to_thread(self._server.deliver, self._user, raw)


@pytest.fixture
def postbox(mail_server: MailServer, new_mailbox: Callable[[str], Mailbox]) -> GreenMailPostbox:
    return GreenMailPostbox(mail_server, new_mailbox("imap"))


class TestGreenMail(MailSourceContract):
    pass


class AioimaplibContract(MailSourceContract):
    """News that comes beside the answer to another command is lost to it; the next poll finds the mail."""

    async def test_mail_that_came_while_nobody_waited_ends_the_next_wait(self, postbox: Postbox) -> None:
        await postbox.deliver(mail(1))
        source = postbox.session()
        await source.open("INBOX")
        (listed,) = await source.list_since(0, 10)
        await postbox.deliver(mail(2))
        assert len(await source.fetch([listed.uid])) == 1
        assert len(await source.list_since(listed.uid, 10)) == 1
        await source.close()


class TestGreenMailByAioimaplib(AioimaplibContract):
    @pytest.fixture
    def postbox(self, mail_server: MailServer, new_mailbox: Callable[[str], Mailbox]) -> GreenMailPostbox:
        return GreenMailPostbox(mail_server, new_mailbox("imap"), AioimaplibSession)


class TestGreenMailWithoutMove(MailSourceContract):
    """COPY, STORE and UID EXPUNGE instead."""

    @pytest.fixture
    def postbox(self, mail_server: MailServer, new_mailbox: Callable[[str], Mailbox]) -> GreenMailPostbox:
        return GreenMailPostbox(mail_server, new_mailbox("imap"), WithoutMove)


class TestDovecot(MailSourceContract):
    @pytest.fixture
    def postbox(self, dovecot_server: Dovecot, new_dovecot_user: Callable[[], str]) -> DovecotPostbox:
        return DovecotPostbox(dovecot_server, new_dovecot_user())


class TestDovecotByStartTls(MailSourceContract):
    @pytest.fixture
    def postbox(
        self, dovecot_server: Dovecot, dovecot_ca_file: Path, new_dovecot_user: Callable[[], str]
    ) -> DovecotPostbox:
        return DovecotPostbox(dovecot_server, new_dovecot_user(), tls=Tls.STARTTLS, ca_file=dovecot_ca_file)


class TestDovecotByTls(MailSourceContract):
    @pytest.fixture
    def postbox(
        self, dovecot_server: Dovecot, dovecot_ca_file: Path, new_dovecot_user: Callable[[], str]
    ) -> DovecotPostbox:
        port = dovecot_server.tls_port
        return DovecotPostbox(
            dovecot_server, new_dovecot_user(), tls=Tls.IMPLICIT, ca_file=dovecot_ca_file, port=port
        )


class TestDovecotByAioimaplib(AioimaplibContract):
    @pytest.fixture
    def postbox(self, dovecot_server: Dovecot, new_dovecot_user: Callable[[], str]) -> DovecotPostbox:
        return DovecotPostbox(dovecot_server, new_dovecot_user(), AioimaplibSession)


class TestDovecotWithoutMove(MailSourceContract):
    @pytest.fixture
    def postbox(self, dovecot_server: Dovecot, new_dovecot_user: Callable[[], str]) -> DovecotPostbox:
        return DovecotPostbox(dovecot_server, new_dovecot_user(), WithoutMove)


class TestWithoutExtensions:
    """No MOVE, no UIDPLUS, no IDLE: nothing may be expunged that is not ours."""

    @pytest.fixture(params=["greenmail", "dovecot"])
    def postbox(self, request: pytest.FixtureRequest) -> GreenMailPostbox | DovecotPostbox:
        if request.param == "greenmail":
            server = request.getfixturevalue("mail_server")
            return GreenMailPostbox(server, request.getfixturevalue("new_mailbox")("imap"), WithoutExtensions)
        user = request.getfixturevalue("new_dovecot_user")()
        return DovecotPostbox(request.getfixturevalue("dovecot_server"), user, WithoutExtensions)

    async def test_moving_copies_once_and_expunges_nothing(self, postbox: GreenMailPostbox) -> None:
        await postbox.deliver(mail(1))
        await postbox.deliver(mail(2))
        source = postbox.session()
        await source.open("INBOX")
        first, second = await source.list_since(0, 10)
        await source.move([first.uid], "Processed")
        await source.move([first.uid], "Processed")  # repeated after a crash
        left = await source.list_since(0, 10)
        await source.close()
        other = postbox.session()
        moved = await other.open("Processed")
        await other.close()
        assert [one.uid for one in left] == [first.uid, second.uid]
        assert moved.exists == 1

    async def test_waiting_without_idle_sleeps_and_proves_the_session(
        self, postbox: GreenMailPostbox | DovecotPostbox
    ) -> None:
        source = postbox.session()
        await source.open("INBOX")
        assert not await source.wait_for_change(0.05)
        await postbox.deliver(mail(1))
        assert await source.wait_for_change(0.05)  # the answer to NOOP tells it
        assert len(await source.list_since(0, 10)) == 1
        assert not await source.wait_for_change(0.05)
        await source.close()


@pytest.fixture(scope="module")
def dotted(stack_folder: Path, dovecot_server: Dovecot) -> Iterator[Dovecot]:
    del dovecot_server  # skips where there is none
    options = DovecotOptions(separator=".", prefix="INBOX.")
    with run_dovecot(stack_folder / "dotted.log", options) as dovecot:
        yield dovecot


class TestFolderNames:
    @pytest.mark.parametrize("folder", ['Büro & "Ablage" 処理済み', "&-", "a&b", "x" * 150])
    async def test_other_alphabets_blanks_and_quotes_reach_the_server(
        self, postbox: GreenMailPostbox, folder: str
    ) -> None:
        await self._moves(postbox, folder)

    @pytest.mark.parametrize("folder", ['Büro & "Ablage" 処理済み', "&-", "Archiv/2026/Büro"])
    async def test_on_dovecot_too(
        self, dovecot_server: Dovecot, new_dovecot_user: Callable[[], str], folder: str
    ) -> None:
        await self._moves(DovecotPostbox(dovecot_server, new_dovecot_user()), folder)

    @pytest.mark.parametrize("folder", ["Processed", "Archiv/2026", "INBOX.Archiv.2026", "INBOX/x"])
    async def test_a_server_with_a_prefix_and_dots_between_levels(
        self, dotted: Dovecot, new_dovecot_user: Callable[[], str], folder: str
    ) -> None:
        await self._moves(DovecotPostbox(dotted, new_dovecot_user()), folder)

    async def _moves(self, postbox: GreenMailPostbox | DovecotPostbox, folder: str) -> None:
        await postbox.deliver(mail(1))
        source = postbox.session()
        await source.open("INBOX")
        (listed,) = await source.list_since(0, 10)
        await source.move([listed.uid], folder)
        await source.close()
        other = postbox.session()
        assert (await other.open(folder)).exists == 1
        await other.close()


def account(port: int, **keys: Any) -> ImapAccount:
    return ImapAccount(
        host="127.0.0.1", port=port, username="u", password="a password", command_timeout_seconds=5.0, **keys
    )


async def test_a_server_that_is_not_there_is_an_error_with_its_address(unused_tcp_port: int) -> None:
    with pytest.raises(MailSourceError, match=rf"127\.0\.0\.1:{unused_tcp_port}.*refused"):
        await ImapSource(account(unused_tcp_port, tls=Tls.NONE)).open("INBOX")


async def test_a_file_of_authorities_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MailSourceError, match="no-such-ca") as failed:
        await ImapSource(account(1, ca_file=tmp_path / "no-such-ca.pem")).open("INBOX")
    assert failed.value.trouble is MailTrouble.TLS


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
async def test_a_certificate_that_nobody_vouches_for_is_refused(dovecot_server: Dovecot, tls: Tls) -> None:
    port = dovecot_server.tls_port if tls is Tls.IMPLICIT else dovecot_server.port
    with pytest.raises(MailSourceError, match="certificate is not trusted") as failed:
        await ImapSource(account(port, tls=tls)).open("INBOX")
    assert failed.value.trouble is MailTrouble.TLS


async def test_tls_on_a_port_without_it_is_said(dovecot_server: Dovecot) -> None:
    with pytest.raises(MailSourceError, match="does not speak TLS on this port"):
        await ImapSource(account(dovecot_server.port, tls=Tls.IMPLICIT)).open("INBOX")


async def test_a_large_mail_comes_in_parts_and_is_never_whole_in_memory(
    dovecot_server: Dovecot, new_dovecot_user: Callable[[], str]
) -> None:
    user, line = new_dovecot_user(), b"x" * 74 + b"\r\n"
    raw = b"Subject: large\r\n\r\n" + line * 500_000
    await asyncio.to_thread(dovecot_server.drop, user, [raw])
    digest, size = hashlib.sha256(raw).hexdigest(), len(raw)
    del raw
    source = DovecotPostbox(dovecot_server, user).session()
    await source.open("INBOX")
    (listed,) = await source.list_since(0, 10)
    assert listed.size_bytes == size
    got = hashlib.sha256()
    tracemalloc.start()
    at = 0
    while part := await source.fetch_part(listed.uid, at, PART_BYTES):
        got.update(part)
        at += len(part)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await source.close()
    assert got.hexdigest() == digest
    assert peak < 8 * PART_BYTES
