"""What refusals of the common servers mean, word for word as they give them."""

import pytest

from postlane.core.imap.login import LoginImpossible, choose_login, may_send_secret
from postlane.core.imap.refusals import Refusal, read_refusal
from postlane.core.imap.responses import Status, read_response
from postlane.core.smtp.smtp_terms import Login

AUTH, LIMIT, NOTHING = Refusal(True, False, None), Refusal(False, True, 60.0), Refusal(False, False, None)


@pytest.mark.parametrize(
    ("line", "at_login", "meaning"),
    [
        (b"P1 NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", True, AUTH),  # Gmail
        (b"P1 NO AUTHENTICATE failed.", True, AUTH),  # Exchange
        (b"P1 NO LOGIN failed.", True, AUTH),
        (b"P1 NO [AUTHORIZATIONFAILED] Not allowed", True, AUTH),
        (b"P1 NO [EXPIRED] Password expired", False, AUTH),
        (b"P1 NO [ALERT] Application-specific password required", True, AUTH),
        (b"P1 NO [ALERT] Too many simultaneous connections. (Failure)", True, LIMIT),  # Gmail
        (b"* BYE Too many connections", False, LIMIT),
        (b"P1 NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded", True, Refusal(False, False, 15.0)),  # Dovecot
        (b"P1 NO [LIMIT] Slow down", True, LIMIT),
        (b"P1 NO [THROTTLED] Slow down", False, LIMIT),
        (b"P1 NO [INUSE] Mailbox is locked", False, Refusal(False, True, 15.0)),
        (b"P1 NO [UNAVAILABLE] Temporary authentication failure", True, Refusal(False, False, 15.0)),
        (b"P1 BAD User is authenticated but not connected.", False, LIMIT),
        (b"P1 NO Request is throttled. Suggested Backoff Time: 92415 milliseconds", False, Refusal(False, True, 92.415)),
        (b"P1 BAD Request is throttled. Suggested Backoff Time: 999999999 milliseconds", True, Refusal(False, True, 3600.0)),
        (b"* BYE [ALERT] Account exceeded command or bandwidth limits", False, LIMIT),
        (b"* BYE Disconnected for inactivity.", False, NOTHING),
        (b"* BYE Session invalidated - AccessTokenExpired", False, NOTHING),
        (b"P1 NO [NONEXISTENT] Unknown Mailbox: x", False, NOTHING),
        (b"P1 BAD Command not understood", True, NOTHING),
    ],
)  # fmt: skip
def test_meanings(line: bytes, at_login: bool, meaning: Refusal) -> None:
    said = read_response((line,))
    assert isinstance(said, Status)
    assert read_refusal(said, at_login=at_login) == meaning


@pytest.mark.parametrize(
    ("offered", "by_token", "mechanism", "login"),
    [
        ("AUTH=PLAIN AUTH=LOGIN", False, "auto", Login.PLAIN),
        ("IMAP4REV1", False, "auto", Login.LOGIN),
        ("AUTH=PLAIN LOGINDISABLED", False, "auto", Login.PLAIN),
        ("AUTH=XOAUTH2 AUTH=OAUTHBEARER", True, "auto", Login.OAUTHBEARER),
        ("AUTH=XOAUTH2 AUTH=PLAIN", True, "auto", Login.XOAUTH2),
        ("AUTH=XOAUTH2 AUTH=OAUTHBEARER", True, "xoauth2", Login.XOAUTH2),
    ],
)
def test_logins(offered: str, by_token: bool, mechanism: str, login: Login) -> None:
    assert choose_login(frozenset(offered.split()), by_token=by_token, mechanism=mechanism) is login


@pytest.mark.parametrize(
    ("offered", "by_token", "words"),
    [
        ("LOGINDISABLED STARTTLS", False, "it may want TLS"),
        ("AUTH=PLAIN", True, "OAUTHBEARER or XOAUTH2 is needed"),
    ],
)
def test_logins_that_cannot_be(offered: str, by_token: bool, words: str) -> None:
    with pytest.raises(LoginImpossible, match=words):
        choose_login(frozenset(offered.split()), by_token=by_token)


@pytest.mark.parametrize(
    ("peer", "encrypted", "allowed", "may"),
    [
        ("192.0.2.1", True, False, True),
        ("192.0.2.1", False, True, True),
        ("192.0.2.1", False, False, False),
        ("127.0.0.1", False, False, True),
        ("::1", False, False, True),
        ("", False, False, False),
    ],
)
def test_secrets_stay_here_without_tls(peer: str, encrypted: bool, allowed: bool, may: bool) -> None:
    assert may_send_secret(peer, encrypted=encrypted, allow_plaintext=allowed) is may
