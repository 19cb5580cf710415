"""Which client a mailbox gets."""

from typing import Any

import pytest

from postlane.adapters.aioimaplib_session import AioimaplibSession
from postlane.adapters.imap_client import PostlaneClient
from postlane.adapters.imap_connector import ImapConnector
from postlane.config.mailbox_section import MailboxSection
from postlane.config.sections import InboundSection
from postlane.config.settings import ConfigError


def mailbox(**keys: Any) -> MailboxSection:
    return MailboxSection.model_validate({"host": "h.example", "username": "u", "password": "p"} | keys)


@pytest.mark.parametrize(
    ("client", "kind"), [("postlane", PostlaneClient), ("aioimaplib", AioimaplibSession)]
)
async def test_the_configuration_chooses(client: str, kind: type[object]) -> None:
    assert isinstance(ImapConnector(InboundSection())(mailbox(client=client))._client, kind)


def test_a_client_that_is_not_installed_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postlane.adapters.imap_connector.find_spec", lambda _name: None)
    ImapConnector(InboundSection(), {"support": mailbox()})
    with pytest.raises(ConfigError, match=r"mailboxes\.support: .*not installed"):
        ImapConnector(InboundSection(), {"support": mailbox(client="aioimaplib")})


async def test_what_a_server_may_send_at_once_follows_the_limits() -> None:
    inbound = InboundSection(chunk_bytes=2**20, oversize_bytes=2**26)
    account = ImapConnector(inbound)._account(mailbox())
    assert account.answer_bytes_max == 2 * 2**26 + 2**24
    assert "p'" not in repr(account)
