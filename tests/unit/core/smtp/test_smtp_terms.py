"""What can be said to a relay, given what it offers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.events.status import SmtpReply
from postlane.core.smtp.smtp_reply import Outcome, Scope
from postlane.core.smtp.smtp_terms import (
    BY_PASSWORD,
    BY_TOKEN,
    FINAL_DOT,
    Login,
    as_data,
    choose_login,
    foreseen_refusal,
    mail_parameters,
)
from postlane.core.smtp.transcript import Envelope

PLAIN = b"Subject: x\r\n\r\nhi\r\n"
UTF8_BODY = "Subject: x\r\n\r\nhü\r\n".encode()
UTF8_HEADER = "To: jürgen@x.example\r\n\r\nhi\r\n".encode()
ENVELOPE = Envelope("desk@example.com", ("a@x.example",))
FULL = {"size": "1000", "8bitmime": "", "smtputf8": ""}


@pytest.mark.parametrize(
    ("extensions", "envelope", "message", "parameters"),
    [
        ({}, ENVELOPE, PLAIN, ()),
        ({}, ENVELOPE, UTF8_BODY, ()),
        ({}, Envelope("", ("a@x",)), PLAIN, ()),
        ({}, Envelope('"a b"@x', ("a@x",)), PLAIN, ()),
        (FULL, ENVELOPE, PLAIN, (b"SIZE=%d" % len(PLAIN),)),
        ({"size": ""}, ENVELOPE, PLAIN, (b"SIZE=%d" % len(PLAIN),)),
        ({"size": "0"}, ENVELOPE, PLAIN, (b"SIZE=%d" % len(PLAIN),)),
        ({"size": f" {len(PLAIN)} "}, ENVELOPE, PLAIN, (b"SIZE=%d" % len(PLAIN),)),
        ({"8bitmime": ""}, ENVELOPE, UTF8_BODY, (b"BODY=8BITMIME",)),
        ({"smtputf8": "", "8bitmime": ""}, ENVELOPE, UTF8_HEADER, (b"BODY=8BITMIME", b"SMTPUTF8")),
        ({"smtputf8": ""}, Envelope("ü@x", ("a@x",)), PLAIN, (b"SMTPUTF8",)),
        ({"smtputf8": ""}, Envelope("a@x", ("a@x", "ü@x")), PLAIN, (b"SMTPUTF8",)),
    ],
)
def test_the_parameters_of_mail(
    extensions: dict[str, str], envelope: Envelope, message: bytes, parameters: tuple[bytes, ...]
) -> None:
    assert mail_parameters(extensions, envelope, message) == parameters


@pytest.mark.parametrize(
    ("extensions", "envelope", "message", "code", "enhanced"),
    [
        ({"size": "10"}, ENVELOPE, PLAIN, 552, "5.3.4"),
        ({}, Envelope("ü@x", ("a@x",)), PLAIN, 550, "5.6.7"),
        ({}, ENVELOPE, UTF8_HEADER, 550, "5.6.7"),
        ({}, Envelope("a@x> SIZE=1", ()), PLAIN, 501, "5.1.7"),
        ({}, Envelope("a@x\r\nRCPT TO:<b@x>", ()), PLAIN, 501, "5.1.7"),
    ],
)
def test_mail_that_the_relay_cannot_take_fails_as_a_message(
    extensions: dict[str, str], envelope: Envelope, message: bytes, code: int, enhanced: str
) -> None:
    refusal = mail_parameters(extensions, envelope, message)
    assert isinstance(refusal, SmtpReply)
    assert (refusal.phase, refusal.code, refusal.enhanced_code) == ("mail", code, enhanced)
    assert "said by Postlane" in refusal.text
    verdict = load_classifier().classify(refusal)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.scope in (Scope.MESSAGE, Scope.SENDER)


@pytest.mark.parametrize(
    ("extensions", "recipient", "code"),
    [
        ({}, "a@x.example", None),
        ({"smtputf8": ""}, "ü@x.example", None),
        ({}, '"a<b"@x.example', None),
        ({}, "ü@x.example", 553),
        ({}, "a@x> NOTIFY=NEVER", 501),
        ({}, "a@x\n", 501),
        ({}, "a", 501),
    ],
)
def test_recipients_that_cannot_be_named(
    extensions: dict[str, str], recipient: str, code: int | None
) -> None:
    refusal = foreseen_refusal(extensions, recipient)
    assert (refusal and refusal.code) == code
    if refusal is not None:
        assert load_classifier().classify(refusal).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("offered", "encrypted", "peer", "login"),
    [
        (["login", "plain"], True, "192.0.2.1", Login.PLAIN),
        (["cram-md5", "login"], True, "192.0.2.1", Login.LOGIN),
        (["plain"], False, "127.0.0.1", Login.PLAIN),
        (["plain"], False, "::1", Login.PLAIN),
        (["plain"], False, "::1%lo", Login.PLAIN),
        (["plain"], False, "192.0.2.1", 538),
        (["plain"], False, "/run/smtp.sock", 538),
        (["xoauth2"], True, "192.0.2.1", 504),
        ([], True, "192.0.2.1", 504),
    ],
)
def test_logins(offered: list[str], encrypted: bool, peer: str, login: Login | int) -> None:
    chosen = choose_login(BY_PASSWORD, offered, encrypted=encrypted, peer=peer)
    if isinstance(login, Login):
        assert chosen is login
        return
    assert isinstance(chosen, SmtpReply)
    assert chosen.code == login
    verdict = load_classifier().classify(chosen)
    assert (verdict.outcome, verdict.scope, verdict.cause) == (Outcome.HOLD, Scope.RELAY, "auth")


@pytest.mark.parametrize(
    ("wanted", "offered", "encrypted", "login"),
    [
        (BY_TOKEN, ["plain", "xoauth2", "oauthbearer"], True, Login.OAUTHBEARER),
        (BY_TOKEN, ["login", "xoauth2"], True, Login.XOAUTH2),
        ((Login.XOAUTH2,), ["oauthbearer", "xoauth2"], True, Login.XOAUTH2),
        ((Login.XOAUTH2,), ["oauthbearer"], True, "the relay offers OAUTHBEARER; XOAUTH2 is needed"),
        (BY_TOKEN, ["plain"], True, "the relay offers PLAIN; OAUTHBEARER or XOAUTH2 is needed"),
        (BY_TOKEN, ["xoauth2"], False, "the access token is not sent over a connection without TLS"),
    ],
)
def test_logins_by_token(
    wanted: tuple[Login, ...], offered: list[str], encrypted: bool, login: Login | str
) -> None:
    chosen = choose_login(wanted, offered, encrypted=encrypted, peer="192.0.2.1")
    if isinstance(login, Login):
        assert chosen is login
        return
    assert isinstance(chosen, SmtpReply)
    assert login in chosen.text
    assert load_classifier().classify(chosen).cause == "auth"


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (b"", b"\r\n"),
        (b"a", b"a\r\n"),
        (b"a\r\n", b"a\r\n"),
        (b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"a\r\n.b\r\n..c\r\n", b"a\r\n..b\r\n...c\r\n"),
        (b"a\n.\n", b"a\r\n..\r\n"),
    ],
)
def test_content_as_data(message: bytes, data: bytes) -> None:
    assert as_data(message) == data


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n"])).map(b"".join))
def test_no_content_can_end_the_mail_early(message: bytes) -> None:
    wire = as_data(message) + FINAL_DOT
    assert (b"\r\n" + wire).count(b"\r\n.\r\n") == 1
    assert b"\n" not in wire.replace(b"\r\n", b"")
    assert b"\r" not in wire.replace(b"\r\n", b"")
    received = [line.removeprefix(b".") for line in as_data(message).split(b"\r\n")]
    assert (
        b"\r\n".join(received).rstrip()
        == b"\r\n".join(message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")).rstrip()
    )
