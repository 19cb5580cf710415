"""The fake mail server keeps the MailSource contract."""

import pytest

from contract.mail_source_contract import MailSourceContract
from fakes.memory_mailbox import MemoryMailbox, MemoryMailServer
from postlane.ports import MailSource, MailSourceError


class MemoryPostbox:
    def __init__(self) -> None:
        self.server = MemoryMailServer()
        self.server.folder("INBOX")

    def session(self) -> MailSource:
        return self.server.session()

    def wrong_password(self) -> MailSource:
        server = MemoryMailServer()
        server.fail("open", MailSourceError("LOGIN refused", auth=True))
        return MemoryMailbox(server)

    async def deliver(self, raw: bytes) -> None:
        self.server.deliver(raw)


@pytest.fixture
def postbox() -> MemoryPostbox:
    return MemoryPostbox()


class TestMemoryMailbox(MailSourceContract):
    pass
