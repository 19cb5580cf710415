"""IMAP by aioimaplib keeps the MailSource contract on a real server, also without what many servers lack."""

import asyncio
import smtplib
from collections.abc import Callable
from typing import Any

import pytest

from contract.mail_source_contract import MailSourceContract, mail
from localstack.greenmail import Mailbox, MailServer
from postlane.adapters.imap_source import ImapAccount, ImapSource
from postlane.core.polling.folder import FolderState
from postlane.ports import MailSource, MailSourceError

COMMAND_SECONDS = 20.0


class PoorImapSource(ImapSource):
    """A session with a server that lacks extensions."""

    def __init__(self, account: ImapAccount, missing: frozenset[str]) -> None:
        super().__init__(account)
        self._missing = missing

    async def open(self, folder: str) -> FolderState:
        state = await super().open(folder)
        self._session.protocol.capabilities -= self._missing
        return state


class GreenMailPostbox:
    def __init__(self, server: MailServer, mailbox: Mailbox, missing: frozenset[str] = frozenset()) -> None:
        self._server = server
        self._mailbox = mailbox
        self._missing = missing

    def account(self, password: str) -> ImapAccount:
        return ImapAccount(
            host=self._server.host,
            port=self._server.imap_port,
            tls=False,
            ca_file=None,
            username=self._mailbox.address,
            password=password,
            command_timeout_seconds=COMMAND_SECONDS,
        )

    def session(self) -> MailSource:
        return PoorImapSource(self.account(self._mailbox.password), self._missing)

    def wrong_password(self) -> MailSource:
        return ImapSource(self.account("wrong-password"))

    async def deliver(self, raw: bytes) -> None:
        await asyncio.to_thread(self._send, raw)

    def _send(self, raw: bytes) -> None:
        with smtplib.SMTP(self._server.host, self._server.smtp_port) as smtp:
            smtp.sendmail("ann@example.org", [self._mailbox.address], raw)


@pytest.fixture
def postbox(mail_server: MailServer, new_mailbox: Callable[[str], Mailbox]) -> GreenMailPostbox:
    return GreenMailPostbox(mail_server, new_mailbox("imap"))


class TestImapSource(MailSourceContract):
    pass


class TestImapSourceWithoutMove(MailSourceContract):
    """COPY, STORE and UID EXPUNGE instead."""

    @pytest.fixture
    def postbox(self, mail_server: MailServer, new_mailbox: Callable[[str], Mailbox]) -> GreenMailPostbox:
        return GreenMailPostbox(mail_server, new_mailbox("imap"), frozenset({"MOVE"}))


class TestImapSourceWithoutExtensions:
    """No MOVE, no UIDPLUS, no IDLE: nothing may be expunged that is not ours."""

    @pytest.fixture
    def postbox(self, mail_server: MailServer, new_mailbox: Callable[[str], Mailbox]) -> GreenMailPostbox:
        return GreenMailPostbox(mail_server, new_mailbox("imap"), frozenset({"MOVE", "UIDPLUS", "IDLE"}))

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
        self, postbox: GreenMailPostbox
    ) -> None:
        source = postbox.session()
        await source.open("INBOX")
        assert not await source.wait_for_change(0.05)
        await postbox.deliver(mail(1))
        assert not await source.wait_for_change(0.05)
        assert len(await source.list_since(0, 10)) == 1
        await source.close()


class TestFolderNames:
    async def test_other_alphabets_blanks_and_quotes_reach_the_server(
        self, postbox: GreenMailPostbox
    ) -> None:
        folder = 'Büro & "Ablage" 処理済み'
        await postbox.deliver(mail(1))
        source = postbox.session()
        await source.open("INBOX")
        (listed,) = await source.list_since(0, 10)
        await source.move([listed.uid], folder)
        await source.close()
        other = postbox.session()
        assert (await other.open(folder)).exists == 1
        await other.close()


async def test_a_server_that_is_not_there_is_an_error_with_its_address(unused_tcp_port: int) -> None:
    account = ImapAccount("127.0.0.1", unused_tcp_port, False, None, "u", "p", 5.0)
    with pytest.raises(MailSourceError, match=rf"127\.0\.0\.1:{unused_tcp_port}.*refused"):
        await ImapSource(account).open("INBOX")


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Any) -> None:
    account = ImapAccount("127.0.0.1", 1, True, tmp_path / "no-such-ca.pem", "u", "p", 5.0)
    with pytest.raises(MailSourceError, match="no-such-ca"):
        await ImapSource(account).open("INBOX")
