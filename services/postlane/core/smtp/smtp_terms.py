"""What can be said to a relay, given what it offers: MAIL parameters, addresses, logins, content.

Where the answer is known before asking, it is given here as the reply that a relay would give, marked as ours.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address

from postlane.core.events.status import SmtpReply
from postlane.core.smtp.transcript import Envelope, Phase

OURS = "(said by Postlane, not by the relay) "
FINAL_DOT = b".\r\n"  # after it the relay may have the mail, before it never

# What may stand between the angle brackets without ending them early and adding parameters of its own.
_PATH = re.compile(r'(?:"[^\x00-\x1f\x7f]*"|[^\x00-\x20\x7f<>"]+)@[^\x00-\x20\x7f<>"]+')
_NEWLINE = re.compile(rb"\r\n|\r|\n")


class Login(StrEnum):
    """The SASL mechanisms we speak."""

    PLAIN = "plain"
    LOGIN = "login"
    OAUTHBEARER = "oauthbearer"
    XOAUTH2 = "xoauth2"


# The better one first; one is tried, because each failure counts towards locking the account.
BY_PASSWORD = (Login.PLAIN, Login.LOGIN)
BY_TOKEN = (Login.OAUTHBEARER, Login.XOAUTH2)


def own_words(phase: Phase, code: int, enhanced_code: str, words: str) -> SmtpReply:
    """A reply that we give in the relay's place."""
    return SmtpReply(phase=phase.value, code=code, enhanced_code=enhanced_code, text=OURS + words)


def choose_login(
    wanted: Sequence[Login], offered: Sequence[str], *, encrypted: bool, peer: str
) -> Login | SmtpReply:
    """How to log in at the host with the IP address `peer`; a password or token goes in clear to this very machine alone."""
    if not encrypted and not _is_loopback(peer):
        secret = "access token" if wanted[0] in BY_TOKEN else "password"
        words = f"the {secret} is not sent over a connection without TLS; set tls for this relay"
        return own_words(Phase.AUTH, 538, "5.7.11", words)  # RFC 4954 section 6
    login = next((login for login in wanted if login.value in offered), None)
    if login is not None:
        return login
    named = ", ".join(offered).upper() or "no authentication"
    needed = " or ".join(login.upper() for login in wanted)
    words = f"the relay offers {named}; {needed} is needed"
    return own_words(Phase.AUTH, 504, "5.5.4", words)


def mail_parameters(
    extensions: Mapping[str, str], envelope: Envelope, message: bytes
) -> tuple[bytes, ...] | SmtpReply:
    """SIZE (RFC 1870), BODY=8BITMIME (RFC 6152) and SMTPUTF8 (RFC 6531) for MAIL, or the refusal of what the relay cannot take."""
    if envelope.mail_from and not _PATH.fullmatch(envelope.mail_from):
        return own_words(Phase.MAIL, 501, "5.1.7", "the sender's address cannot be sent")
    parameters: list[bytes] = []
    if "size" in extensions:
        limit = extensions["size"].strip()
        if limit.isdecimal() and 0 < int(limit) < len(message):
            words = f"the mail has {len(message)} bytes, the relay takes {limit} (SIZE in its EHLO)"
            return own_words(Phase.MAIL, 552, "5.3.4", words)
        parameters.append(b"SIZE=%d" % len(message))
    if not message.isascii() and "8bitmime" in extensions:
        parameters.append(b"BODY=8BITMIME")
    header_is_ascii = message.isascii() or message.partition(b"\r\n\r\n")[0].isascii()
    if "smtputf8" in extensions:
        if not (header_is_ascii and "".join((envelope.mail_from, *envelope.recipients)).isascii()):
            parameters.append(b"SMTPUTF8")
    elif not (header_is_ascii and envelope.mail_from.isascii()):
        words = "the mail has non-ASCII addresses, and the relay offers no SMTPUTF8"
        return own_words(Phase.MAIL, 550, "5.6.7", words)
    return tuple(parameters)


def foreseen_refusal(extensions: Mapping[str, str], recipient: str) -> SmtpReply | None:
    """The refusal of a recipient that cannot even be named to this relay."""
    if not _PATH.fullmatch(recipient):
        return own_words(Phase.RCPT, 501, "5.1.3", "the address cannot be sent")
    if not recipient.isascii() and "smtputf8" not in extensions:
        words = "the address is not ASCII, and the relay offers no SMTPUTF8"
        return own_words(Phase.RCPT, 553, "5.6.7", words)
    return None


def as_data(message: bytes) -> bytes:
    """The content as DATA carries it, up to the final dot: CRLF everywhere, dots doubled (RFC 5321 section 4.5.2)."""
    breaks = message.count(b"\r\n")
    if breaks != message.count(b"\n") or breaks != message.count(b"\r"):
        message = _NEWLINE.sub(b"\r\n", message)
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    stuffed = message.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def _is_loopback(peer: str) -> bool:
    try:
        return ip_address(peer.partition("%")[0]).is_loopback
    except ValueError:
        return False
