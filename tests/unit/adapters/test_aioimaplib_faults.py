"""The faults of aioimaplib that docs/decisions/0020-imap-client.md names, each shown on it and beside it on our own client.

Should a release of aioimaplib mend one, its half of the test fails, and the decision can be looked at again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aioimaplib import aioimaplib

from fakes.scripted_imap import ScriptedImap, ok
from postlane.adapters.aioimaplib_session import AioimaplibSession
from postlane.adapters.imap_account import ImapAccount
from postlane.adapters.imap_client import ImapClient, PostlaneClient
from postlane.adapters.imap_source import ImapSource
from postlane.config.sections import Tls
from postlane.ports import MailSourceError

TEST_SECONDS = 30.0  # far above every deadline used here
FLOOD = b"* 1 FETCH (FLAGS (\\Seen))\r\n" * 20_000


@pytest.fixture
async def server() -> AsyncIterator[ScriptedImap]:
    async with ScriptedImap().serve() as server:
        yield server


async def opened(server: ScriptedImap, make: Callable[[ImapAccount], ImapClient], **keys: Any) -> ImapSource:
    keys = {"tls": Tls.NONE, "password": "a secret password"} | keys
    source = ImapSource(make(ImapAccount(host="127.0.0.1", port=server.port, username="u", **keys)))
    await source.open("INBOX")
    return source


def answers(server: ScriptedImap) -> None:
    """Two mails, as usual."""
    server.rules["SEARCH"] = lambda tag, _: b"* SEARCH 1 2\r\n" + ok(tag)
    server.rules["FETCH"] = lambda tag, _: (
        b"* 1 FETCH (UID 1 RFC822.SIZE 5)\r\n* 2 FETCH (UID 2 RFC822.SIZE 6)\r\n" + ok(tag)
    )


async def test_a_flood_of_lines_in_one_read_kills_aioimaplib_and_nothing_here(server: ScriptedImap) -> None:
    """It recurses once per line of a read (its issue 118)."""
    answers(server)
    server.rules["SEARCH"] = lambda tag, _: FLOOD + b"* SEARCH 1 2\r\n" + ok(tag)
    mailbox = await opened(server, AioimaplibSession)
    async with asyncio.timeout(TEST_SECONDS):
        with pytest.raises(MailSourceError, match="connection lost"):
            await mailbox.list_since(0, 10)
        listed = await (await opened(server, PostlaneClient)).list_since(0, 10)
    assert [(one.uid, one.size_bytes) for one in listed] == [(1, 5), (2, 6)]


async def test_a_command_of_aioimaplib_outlives_its_connection_and_ours_ends_with_it(
    server: ScriptedImap,
) -> None:
    server.rules["SEARCH"] = lambda _tag, _command: None
    bare = aioimaplib.IMAP4("127.0.0.1", server.port, timeout=3600.0)
    await bare.wait_hello_from_server()
    await bare.login("u", "p")
    await bare.select("INBOX")
    searching = asyncio.ensure_future(bare.protocol.search("ALL", charset=None))
    async with asyncio.timeout(TEST_SECONDS):
        while not bare.protocol.transport.is_closing():  # noqa: ASYNC110 - the library tells nobody
            await asyncio.sleep(0.01)
    for _ in range(100):
        await asyncio.sleep(0)  # whoever was to be told of the loss has had every chance
    assert not searching.done()
    searching.cancel()
    mailbox = await opened(server, PostlaneClient, command_timeout_seconds=3600.0)
    async with asyncio.timeout(TEST_SECONDS):
        with pytest.raises(MailSourceError, match="connection lost during UID SEARCH"):
            await mailbox.list_since(0, 10)


async def test_words_for_people_that_end_in_braces_swallow_an_answer_of_aioimaplib_and_not_of_ours(
    server: ScriptedImap,
) -> None:
    """It takes them for a literal, which it then assigns to nobody, together with the answer in it."""
    answers(server)
    server.rules["SEARCH"] = lambda tag, _: b"* OK see {40}\r\n* SEARCH 1 2\r\n" + ok(tag)
    mailbox = await opened(server, AioimaplibSession, command_timeout_seconds=0.3)
    async with asyncio.timeout(TEST_SECONDS):
        with pytest.raises(MailSourceError, match=r"not answered|no answer in time"):
            await mailbox.list_since(0, 10)
        listed = await (await opened(server, PostlaneClient)).list_since(0, 10)
    assert [one.uid for one in listed] == [1, 2]


def test_aioimaplib_has_no_starttls() -> None:
    assert not any("starttls" in name.lower() for name in dir(aioimaplib.IMAP4))
    assert not any("starttls" in name.lower() for name in dir(aioimaplib.IMAP4ClientProtocol))
