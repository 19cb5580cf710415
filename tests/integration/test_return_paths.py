"""A mail goes out by a signed return path, comes back with nothing of itself in it, and its recipient is not mailed again.

Both services as processes, a real broker, a real SMTP server that takes the mail, a real Dovecot that has the bounce.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakes.dovecot import PASSWORD, Dovecot
from integration.postlane_process import FAST_RETRIES, POSTLANE, Installation, eventually, installed, request
from localstack.relay_client import RelayControl
from localstack.relay_policy import Act, Fault, Phase
from postlane.core.events.feedback import FeedbackKind, MailFeedback
from postlane.core.events.received import MailReceived
from postlane.core.events.status import MailStatus
from postlane.core.return_paths import names_recipient, read_return_path

GONE, HERE = "gone@customer.test", "here@customer.test"
VERP = 'bounce_address = "bounces@desk.test"\nverp = true'
MAILBOX = """\

[mailboxes.bounces]
host = "{host}"
port = {port}
tls = "none"
username = "{user}"
password = "{password}"
start = "all"

[inbound]
poll_seconds = 0.5
"""


def bounce(return_path: str, recipient: str) -> bytes:
    """As qmail words it and Postfix delivers it; the case of the address was folded on the way."""
    return (
        f"Return-Path: <>\r\nX-Original-To: {return_path.upper()}\r\nDelivered-To: bounces@desk.test\r\n"
        f"From: MAILER-DAEMON@mx.customer.test\r\nTo: {return_path.upper()}\r\nSubject: failure notice\r\n"
        "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@mx.customer.test>\r\n\r\n"
        "Hi. This is the qmail-send program at mx.customer.test.\r\n"
        "I'm afraid I wasn't able to deliver your message to the following addresses.\r\n"
        "This is a permanent error; I've given up. Sorry it didn't work out.\r\n\r\n"
        f"<{recipient}>:\r\n550 5.1.1 User unknown\r\n"
    ).encode()


@pytest.fixture
def site(
    tmp_path: Path,
    kafka_bootstrap: str,
    relay: RelayControl,
    dovecot_server: Dovecot,
    new_dovecot_user: Callable[[], str],
) -> Iterator[tuple[Installation, str]]:
    user = new_dovecot_user()
    with installed(tmp_path, kafka_bootstrap, relay, FAST_RETRIES, relay_options=VERP) as installation:
        with installation.config.open("a") as config:
            config.write(
                MAILBOX.format(
                    host=dovecot_server.host, port=dovecot_server.port, user=user, password=PASSWORD
                )
            )
        yield installation, user


def status(installation: Installation, event_id: str) -> MailStatus:
    found = [one for one in installation.statuses() if one.final and one.request_event_id == event_id]
    return found[-1]


def ended(installation: Installation, *event_ids: str) -> bool:
    return set(event_ids) <= {event_id for event_id, _ in installation.ends()}


def feedback(installation: Installation) -> list[MailFeedback]:
    records = installation.read("mail.outbound.feedback")
    return [installation.codec.decode(MailFeedback, record.value) for record in records]


def test_a_bounce_with_nothing_of_our_mail_is_told_and_suppresses(
    site: tuple[Installation, str], relay: RelayControl, dovecot_server: Dovecot
) -> None:
    installation, user = site
    relay.add_fault(Fault(Phase.ACCEPTED, Act.CUT, times=1))  # it goes out twice
    installation.start("outbound")
    installation.produce(request("4711", 0, GONE))
    first, second = relay.wait_for(lambda found: len(found) >= 2)
    assert first.sender.startswith("bounces+vt4711.")
    assert (first.sender, first.sha256) == (second.sender, second.sha256)
    eventually("SENT", lambda: ended(installation, "4711-0"))

    installation.start("inbound")
    forged = first.sender.replace("vt4711", "vt4712")
    dovecot_server.deliver(user, bounce(forged, HERE), bounce(first.sender, HERE), bounce(first.sender, GONE))
    told = eventually("feedback", lambda: found if len(found := feedback(installation)) >= 2 else [])
    facts = [(one.kind, one.ticket_id, one.message_id, one.recipient, one.recipient_proven) for one in told]
    sent = status(installation, "4711-0").message_id
    assert facts == [
        (FeedbackKind.BOUNCE, "4711", sent, HERE, False),  # only GONE has seen this return path
        (FeedbackKind.BOUNCE, "4711", sent, GONE, True),
    ]
    events = [
        installation.codec.decode(MailReceived, record.value) for record in installation.read("mail.inbound")
    ]
    assert sorted((event.uid, event.ticket_id) for event in events) == [(1, None), (2, "4711"), (3, "4711")]

    words = subprocess.run(
        (*POSTLANE, "--config", str(installation.config), "status", "4711"),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f"BOUNCE of {GONE} 5.1.1 (hard): 550 5.1.1 User unknown" in words

    eventually("on the list", lambda: installation.read("mail.control"))
    asked = 0

    def suppressed() -> bool:
        """Senders follow the list every two seconds."""
        nonlocal asked
        asked += 1
        installation.produce(request("4711", asked, GONE))
        eventually("an end", lambda: ended(installation, f"4711-{asked}"))
        return status(installation, f"4711-{asked}").state.value == "SUPPRESSED"

    eventually("suppressed", suppressed)
    installation.produce(request("4711", 999, HERE))
    eventually("the other", lambda: ended(installation, "4711-999"))
    assert status(installation, "4711-999").state.value == "SENT"


def test_a_mail_to_several_names_its_recipients_where_they_go_one_by_one(
    tmp_path: Path, kafka_bootstrap: str, relay: RelayControl
) -> None:
    options = f"{VERP}\nrecipients_per_mail = 1"
    with installed(tmp_path, kafka_bootstrap, relay, FAST_RETRIES, relay_options=options) as installation:
        installation.start("outbound")
        installation.produce(request("4711", 0, GONE, HERE))
        mails = relay.wait_for(lambda found: len(found) >= 2)
        eventually("SENT", lambda: ended(installation, "4711-0"))
    assert [mail.recipients for mail in mails] == [(GONE,), (HERE,)]
    assert len({mail.sha256 for mail in mails}) == 1
    assert len({mail.sender for mail in mails}) == 2
    keys = installation.settings.signing.signing_keys()
    for mail in mails:
        path = read_return_path(keys, mail.sender)
        assert path is not None
        assert path.message_id == mail.message_id
        assert [one for one in (GONE, HERE) if names_recipient(keys, path, one)] == [*mail.recipients]
