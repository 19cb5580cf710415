"""Doctor's look at a mailbox whose server is none, and at name servers."""

import asyncio
import logging

import pytest

from fakes.name_server import NameServer
from fakes.scripted_imap import ScriptedImap, ok
from fakes.zone_script import ZoneScript, world
from postlane.config.mailbox_section import MailboxSection
from postlane.config.sections import OutboundSection
from postlane.ops.check_mail import check_name_servers
from postlane.ops.check_mailbox import check_mailbox
from postlane.ops.checks import Check, State


async def _check_against(greeting: bytes) -> tuple[int, Check]:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    mailbox = MailboxSection.model_validate(
        {"host": "127.0.0.1", "port": port, "tls": "none", "username": "u", "password": "a password"}
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


@pytest.mark.parametrize(
    ("script", "seconds", "state", "words", "advice"),
    [
        (world(), 30.0, State.OK, "answers", ""),
        (ZoneScript(), 30.0, State.WARN, "denies that there is a domain com", "check_domains = false"),
        (ZoneScript(rcodes={"com": "SERVFAIL"}), 30.0, State.WARN, "SERVFAIL", "are not checked"),
        (ZoneScript(silent={"com"}), 0.3, State.WARN, "no answer to com MX within 0.3 s", "are not checked"),
    ],
)
async def test_name_servers(
    script: ZoneScript, seconds: float, state: State, words: str, advice: str
) -> None:
    server = NameServer(script)
    await server.start()
    host, port = server.address
    outbound = OutboundSection(check_domains=True, dns_servers=(f"{host}:{port}",), dns_seconds=seconds)
    check = await check_name_servers(outbound)
    await server.stop()
    assert (check.name, check.state) == ("dns", state)
    assert check.detail.startswith(f"{host} port {port}")
    assert words in check.detail
    assert advice in check.advice


@pytest.mark.parametrize(
    ("offered", "after", "state"),
    [
        ("UIDPLUS", "delete", State.OK),
        ("MOVE", "move", State.OK),
        ("", "flag", State.OK),
        ("", "move", State.WARN),
        ("MOVE", "delete", State.WARN),
    ],
)
async def test_every_folder_is_opened_and_what_the_server_lacks_is_told(
    offered: str, after: str, state: State
) -> None:
    async with ScriptedImap().serve() as server:
        server.rules["CAPABILITY"] = lambda tag, _: f"* CAPABILITY IMAP4rev1 {offered}\r\n".encode() + ok(tag)
        keys = {
            "host": "127.0.0.1",
            "port": server.port,
            "tls": "none",
            "username": "u",
            "password": "a password",
        }
        mailbox = MailboxSection.model_validate(keys | {"more_folders": ["Büro"], "after": after})
        check = await check_mailbox("support", mailbox, {})
    assert check.state is state
    assert 'INBOX holds 3 mails; never polled; start = "new" means 0 mails; Büro holds 3' in check.detail
    assert ("no UIDPLUS" in check.detail) == (state is State.WARN)


async def test_a_wrong_password_is_told_with_what_to_do() -> None:
    async with ScriptedImap().serve() as server:
        server.rules["LOGIN"] = lambda tag, _: f"{tag} NO [AUTHENTICATIONFAILED] no\r\n".encode()
        keys = {
            "host": "127.0.0.1",
            "port": server.port,
            "tls": "none",
            "username": "u",
            "password": "a password",
        }
        check = await check_mailbox("support", MailboxSection.model_validate(keys), {})
    assert check.state is State.FAIL
    assert "check username and password" in check.advice


NO_FOLDER = "NO [NONEXISTENT] Mailbox doesn't exist"
LISTED = b'* LIST (\\HasNoChildren) "." INBOX\r\n* LIST (\\Noselect) "." Archive\r\n* LIST () "." "Vertr&AOQ-ge &- B&APw-ro"\r\n'


@pytest.mark.parametrize(
    ("folder", "listing", "advice"),
    [
        ("Junk", LISTED, 'make the folder "Junk" on the server, or set folder and more_folders to some'),
        ("Junk", LISTED, "of these: INBOX, Verträge & Büro"),
        ("Verträge & Büro", LISTED, 'ask whoever runs the server why "Verträge & Büro" cannot be opened'),
        ("Junk", None, "check host, port"),
    ],
)
async def test_a_folder_that_is_not_there_is_told_beside_those_that_are(
    folder: str, listing: bytes | None, advice: str
) -> None:
    async with ScriptedImap().serve() as server:
        select = server.rules["SELECT"]
        server.rules["SELECT"] = lambda tag, line: (
            select(tag, line) if line.endswith('"INBOX"') else f"{tag} {NO_FOLDER}\r\n".encode()
        )
        server.rules['"*"'] = lambda tag, _: None if listing is None else listing + ok(tag)
        server.rules["LIST"] = server.rules.pop("LIST")  # behind the rule for `"*"`
        keys = {"host": "127.0.0.1", "port": server.port, "tls": "none", "username": "u", "password": "p p"}
        mailbox = MailboxSection.model_validate(keys | {"more_folders": [folder]})
        check = await check_mailbox("support", mailbox, {})
    assert check.state is State.FAIL
    assert check.detail.startswith("INBOX holds 3 mails")
    assert "Mailbox doesn't exist" in check.detail
    assert advice in check.advice
