"""Doctor's look at a mailbox whose server is none."""

import asyncio
import logging

import pytest

from postlane.config.sections import MailboxSection
from postlane.ops.check_mail import check_mailbox
from postlane.ops.checks import Check, State


async def _check_against(greeting: bytes) -> tuple[int, Check]:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    mailbox = MailboxSection.model_validate(
        {"host": "127.0.0.1", "port": port, "tls": "none", "username": "u", "password": "p"}
    )
    try:
        return port, await check_mailbox("support", mailbox, None)
    finally:
        server.close()


def test_a_mailbox_on_the_port_of_smtp_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        port, check = asyncio.run(_check_against(b"220 mail.example.com ESMTP\r\n"))
    assert check.state is State.FAIL
    assert check.detail == (f"127.0.0.1:{port} does not answer as an IMAP server: 220 mail.example.com ESMTP")
    assert "check host, port" in check.advice
    assert caplog.records == []
