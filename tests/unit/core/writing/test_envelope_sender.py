"""Which reverse path a mail goes out with, and that the same mail to the same recipients always has the same."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fakes.mail_reader import KEYS, REQUEST
from postlane.core.events.mail import Address
from postlane.core.return_paths import names_recipient, read_return_path
from postlane.core.ticket_marks import SigningKeys
from postlane.core.writing.envelope_sender import SenderPolicy, envelope_sender

KIM, LEE = "kim@example.org", "lee@example.org"
PLAIN = SenderPolicy(keys=KEYS)
VERP = SenderPolicy(keys=KEYS, verp=True)
ID = KEYS.signer(REQUEST.requested_at).message_id(REQUEST.ticket_id, REQUEST.event_id)
BOTH = replace(REQUEST, to=(Address(address="Kim@EXAMPLE.org"),), bcc=(Address(address=LEE),))


@pytest.mark.parametrize(
    ("envelope_from", "bounce_address", "expected"),
    [
        (None, None, "support@desk.example"),
        (None, "Bounces@Desk.example", "Bounces@desk.example"),
        ("b@Desk.example", None, "b@desk.example"),
        ("b@desk.example", "bounces@desk.example", "b@desk.example"),
        ("", "bounces@desk.example", ""),
        ("", None, ""),
    ],
)
def test_without_a_tag(envelope_from: str | None, bounce_address: str | None, expected: str) -> None:
    request = replace(REQUEST, envelope_from=envelope_from)
    policy = SenderPolicy(keys=KEYS, bounce_address=bounce_address)
    assert envelope_sender(request, (KIM,), policy) == expected
    if envelope_from is not None:  # who names a sender means that one
        assert envelope_sender(request, (KIM,), replace(policy, verp=True)) == expected


@pytest.mark.parametrize("bounce_address", [None, "b@bounces.example"])
def test_a_tag_names_the_mail_and_its_only_recipient(bounce_address: str | None) -> None:
    address = envelope_sender(REQUEST, (KIM,), replace(VERP, bounce_address=bounce_address))
    local, _, domain = (bounce_address or "support@desk.example").partition("@")
    assert address.startswith(f"{local}+vt4711.")
    assert address.endswith(f"@{domain}")
    path = read_return_path(KEYS, address)
    assert path is not None
    assert (path.mark.ticket_id, path.message_id) == ("4711", ID)
    assert names_recipient(KEYS, path, KIM)
    assert not names_recipient(KEYS, path, LEE)


@pytest.mark.parametrize(
    ("recipients", "named"),
    [
        (("Kim@example.org", LEE), set()),
        (("Kim@example.org",), {KIM}),  # one at a time, or the only one left
        ((LEE,), {LEE}),
        (("staging@desk.example",), set()),  # [safety] redirect_to
    ],
)
def test_whom_the_envelope_names_alone(recipients: tuple[str, ...], named: set[str]) -> None:
    path = read_return_path(KEYS, envelope_sender(BOTH, recipients, VERP))
    assert path is not None
    assert path.message_id == ID
    asked = (KIM, LEE, "staging@desk.example")
    assert {one for one in asked if names_recipient(KEYS, path, one)} == named


def test_it_is_the_same_every_time_and_over_a_rotation() -> None:
    first = envelope_sender(REQUEST, (KIM,), VERP)
    later = REQUEST.requested_at + timedelta(days=1)
    keys = SigningKeys("k2", {**KEYS.keys, "k2": b"another secret of length"}, KEYS.domain, {"k2": later})
    assert envelope_sender(REQUEST, (KIM,), SenderPolicy(keys=keys, verp=True)) == first
    assert envelope_sender(replace(REQUEST, requested_at=later), (KIM,), VERP) == first
    assert envelope_sender(replace(REQUEST, event_id="e-2"), (KIM,), VERP) != first
    assert envelope_sender(replace(REQUEST, ticket_id="4712"), (KIM,), VERP) != first


def test_where_no_tag_fits_the_address_stays_as_it_is() -> None:
    request = replace(REQUEST, ticket_id="Ä" * 60)
    assert envelope_sender(request, (KIM,), VERP) == "support@desk.example"


def test_what_is_no_address_is_refused() -> None:
    for request in (
        replace(REQUEST, envelope_from="nobody"),
        replace(REQUEST, from_address=Address(address="nobody")),
    ):
        with pytest.raises(ValueError, match="'nobody' is not a mail address"):
            envelope_sender(request, (KIM,), PLAIN)
