"""Alerts by mail, against a real SMTP server."""

from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest

from fakes.relay_script import RelayScript, TakenMail
from fakes.scripted_relay import ScriptedRelay
from postlane.adapters.alert_mail import AlertMail
from postlane.adapters.notice_channel import Away, Refused, Told
from postlane.config.notify_section import NotifyMailSection
from postlane.config.sections import Tls
from postlane.config.settings import ConfigError
from postlane.core.alerts.catalogue import AlertName
from postlane.core.alerts.notice import Notice, notice
from postlane.core.alerts.raising import Alert, Clear, Condition, Effect, Raise, Remind
from postlane.core.smtp.transcript import Phase

T0 = 1_800_000_000.0
CONDITION = Condition(
    alert=AlertName.RELAY_LOGIN_BROKEN,
    subject="größe",
    since=T0,
    cause="auth",
    reason="535 5.7.8 Username and Password not accepted (auth)",
)


def told(effect: Effect) -> Notice:
    return notice(effect, T0 + 60, instance="host-1")


RAISED = told(Raise(Alert(CONDITION, T0)))


@pytest.fixture
async def relay() -> AsyncIterator[ScriptedRelay]:
    relay = ScriptedRelay(RelayScript())
    yield relay
    await relay.stop()


async def mail_to(relay: ScriptedRelay) -> AlertMail:
    section = NotifyMailSection(
        host="127.0.0.1",
        port=await relay.start(),
        tls=Tls.NONE,
        sender="desk@example.com",
        recipients=("ops@example.com", "lead@example.com"),
        timeout_seconds=5,
    )
    return AlertMail(section)


def parsed(mail: TakenMail) -> EmailMessage:
    message = message_from_bytes(mail.content, policy=SMTP)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


async def test_a_mail_that_says_it_all(relay: ScriptedRelay) -> None:
    mail = await mail_to(relay)
    assert await mail.tell(RAISED) == Told()
    await mail.close()
    (taken,) = relay.taken
    assert (taken.mail_from, taken.recipients) == (
        "desk@example.com",
        ("ops@example.com", "lead@example.com"),
    )
    message = parsed(taken)
    assert message["From"] == "Postlane <desk@example.com>"
    assert message["To"] == "ops@example.com, lead@example.com"
    assert message["Subject"] == "[critical] Relay größe refuses our login (auth)"
    assert message["Date"].datetime.timestamp() == T0 + 60
    assert message["Auto-Submitted"] == "auto-generated"
    assert "535 5.7.8 Username and Password not accepted" in message.get_content()
    assert RAISED.action in message.get_content().replace("\n", " ")


async def test_reminders_and_the_end_join_the_first_mail(relay: ScriptedRelay) -> None:
    mail = await mail_to(relay)
    for effect in (
        Raise(Alert(CONDITION, T0)),
        Remind(Alert(CONDITION, T0, 1)),
        Clear(Alert(CONDITION, T0, 1)),
    ):
        await mail.tell(told(effect))
    await mail.close()
    messages = [parsed(taken) for taken in relay.taken]
    assert len({message["References"] for message in messages}) == 1
    assert len({message["Message-ID"] for message in messages}) == 3


async def test_a_second_try_is_the_same_mail(relay: ScriptedRelay) -> None:
    mail = await mail_to(relay)
    relay.script.stops = {Phase.FINAL: "451 4.3.0 try later"}
    assert isinstance(await mail.tell(RAISED), Away)
    relay.script.stops = {}
    assert await mail.tell(RAISED) == Told()
    await mail.close()
    assert relay.taken[0].content == relay.taken[-1].content


@pytest.mark.parametrize(
    ("stops", "refused", "outcome"),
    [
        ({Phase.CONNECT: "421 4.3.2 busy"}, {}, Away("421 4.3.2 busy (connect)")),
        ({Phase.MAIL: "550 5.7.1 not you"}, {}, Refused("550 5.7.1 not you (mail)")),
        ({Phase.MAIL: None}, {}, Away("the relay closed the connection (mail)")),
        ({Phase.FINAL: None}, {}, Away("the relay closed the connection (final)")),
        (
            {},
            {"ops@example.com": "550 5.1.1 who?"},
            Told("ops@example.com: 550 5.1.1 who? (rcpt)"),
        ),
        (
            {},
            {"ops@example.com": "550 5.1.1 who?", "lead@example.com": "450 4.2.0 greylisted"},
            Away("ops@example.com: 550 5.1.1 who? (rcpt); lead@example.com: 450 4.2.0 greylisted (rcpt)"),
        ),
    ],
)
async def test_what_answers_mean(
    relay: ScriptedRelay, stops: dict[Phase, str | None], refused: dict[str, str], outcome: object
) -> None:
    relay.script = RelayScript(stops=stops, refused=refused)
    mail = await mail_to(relay)
    assert await mail.tell(RAISED) == outcome
    await mail.close()


def test_a_bad_certificate_file_is_named(tmp_path: Path) -> None:
    section = NotifyMailSection(
        host="127.0.0.1", sender="a@example.com", recipients=("b@example.com",), ca_file=tmp_path / "none.pem"
    )
    with pytest.raises(ConfigError, match=r"^notify\.mail\.ca_file: .*none\.pem cannot be used"):
        AlertMail(section)
