"""Mailboxes from what people write, alike in every Python, and never another address than theirs."""

import pytest

from postlane.client.building import mailbox, request
from postlane.core.events.mail import Address
from postlane.core.events.request_rules import check_request


@pytest.mark.parametrize(
    ("written", "name", "address"),
    [
        ("jane@example.com", "", "jane@example.com"),
        ("<jane@example.com>", "", "jane@example.com"),
        ("Jane Doe <jane@example.com>", "Jane Doe", "jane@example.com"),
        ("  Jane Doe  < jane@example.com > ", "Jane Doe", "jane@example.com"),
        ("Jane<jane@example.com>", "Jane", "jane@example.com"),
        ("Jürgen Groß <j@example.com>", "Jürgen Groß", "j@example.com"),
        ("Dr. Jane (Sales) <jane@example.com>", "Dr. Jane (Sales)", "jane@example.com"),
        ('"Doe, Jane" <jane@example.com>', "Doe, Jane", "jane@example.com"),
        ('"Jane \\"J\\" <Doe>" <jane@example.com>', 'Jane "J" <Doe>', "jane@example.com"),
        ("Postmaster <root@[192.0.2.1]>", "Postmaster", "root@[192.0.2.1]"),
        ('Jane <"jane doe"@example.com>', "Jane", '"jane doe"@example.com'),
    ],
)
def test_a_mailbox_is_read_with_its_name(written: str, name: str, address: str) -> None:
    assert mailbox(written) == Address(address=address, name=name)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Jane",
        "Jane <jane@example.com",
        "Jane jane@example.com>",
        "Jane <>",
        "Doe, Jane <jane@example.com>",
        "eve@example.net, Jane <jane@example.com>",
        "eve@example.net <jane@example.com>",
        "Jane <jane@example.com>, Eve <eve@example.net>",
        "<jane@example.com><eve@example.net>",
        "Jane <jane@example.com> eve@example.net",
        "Jane\r\nBcc: eve@example.net <jane@example.com>",
        "jane@example.com (Jane <3)",
    ],
)
def test_what_cannot_be_read_is_refused_in_the_users_own_words(written: str) -> None:
    wanted = request(ticket_id="1", from_address="desk@example.com", to=[written], subject="", text="x")
    assert wanted.to == (Address(address=written),)
    assert any(fault.startswith("to[0].address") for fault in check_request(wanted)), check_request(wanted)


def test_a_long_line_is_no_burden() -> None:
    for filler in (" ", "a", '"', "\\", "<", '"\\'):
        assert mailbox(filler * 100_000).name == ""
