"""What is said to log in with an OAuth 2 access token: OAUTHBEARER (RFC 7628) and XOAUTH2 (Google, Microsoft).

Both send everything with the AUTH command. A relay that refuses says why in a challenge, which must be answered before the
refusal itself comes: with a single %x01 (RFC 7628 section 3.2.3), or with an empty line.
https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
"""

import json
from base64 import b64decode, b64encode

from postlane.core.smtp.smtp_reply import one_line
from postlane.core.smtp.smtp_terms import Login

CHALLENGE_WORDS_MAX = 200  # characters of a challenge that are kept

ERROR_ANSWERS = {Login.OAUTHBEARER: b64encode(b"\x01"), Login.XOAUTH2: b""}


def oauthbearer(username: str, host: str, port: int, access_token: str) -> bytes:
    """The initial response of OAUTHBEARER in Base64 (RFC 7628 section 3.1)."""
    saslname = username.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 section 4
    words = f"n,a={saslname},\x01host={host}\x01port={port}\x01auth=Bearer {access_token}\x01\x01"
    return b64encode(words.encode())


def xoauth2(username: str, access_token: str) -> bytes:
    """The initial response of XOAUTH2 in Base64."""
    return b64encode(f"user={username}\x01auth=Bearer {access_token}\x01\x01".encode())


def challenge_words(challenge: str) -> str:
    """What a relay says in its error challenge, for people: `status invalid_token, scope mail`; empty where nothing can be read."""
    try:
        said = json.loads(b64decode(challenge, validate=True))
    except (ValueError, RecursionError):
        return ""
    if not isinstance(said, dict):
        return ""
    known = (f"{key} {said[key]}" for key in ("status", "scope") if isinstance(said.get(key), str | int))
    return one_line(", ".join(known), CHALLENGE_WORDS_MAX)
