"""The part of an SMTP server that checks bearer tokens, strictly by RFC 7628 and Google's description of XOAUTH2."""

import base64
import json
import re
from collections.abc import Collection

_OAUTHBEARER = re.compile(
    r"n,a=(?P<user>[^,\x01]+),\x01host=(?P<host>[^\x01]+)\x01port=(?P<port>\d+)\x01auth=Bearer (?P<token>[^\x01]+)\x01\x01"
)
_XOAUTH2 = re.compile(r"user=(?P<user>[^\x01]+)\x01auth=Bearer (?P<token>[^\x01]+)\x01\x01")

CHALLENGE = base64.b64encode(json.dumps({"status": "invalid_token", "scope": "mail"}).encode()).decode()
FORMS = {"OAUTHBEARER": _OAUTHBEARER, "XOAUTH2": _XOAUTH2}
ERROR_ANSWERS = {"OAUTHBEARER": base64.b64encode(b"\x01").decode(), "XOAUTH2": ""}


class BearerGuard:
    """Lets `username` in with a token in `live`. `tried` lists (mechanism, token); `answered` how challenges were answered."""

    def __init__(self, username: str, live: Collection[str], *mechanisms: str) -> None:
        self.mechanisms = mechanisms or ("XOAUTH2", "OAUTHBEARER")
        self.tried: list[tuple[str, str]] = []
        self.answered: list[tuple[str, str]] = []
        self._username = username
        self._live = live

    @property
    def offer(self) -> str:
        """The line of EHLO."""
        return f"AUTH {' '.join(self.mechanisms)}"

    def lets_in(self, mechanism: str, initial: str) -> bool:
        """Whether the initial response is right to the letter."""
        found = FORMS[mechanism].fullmatch(base64.b64decode(initial, validate=True).decode())
        assert found, f"{mechanism}: {base64.b64decode(initial)!r}"
        self.tried.append((mechanism, found["token"]))
        user = found["user"].replace("=2C", ",").replace("=3D", "=")
        return user == self._username and found["token"] in self._live
