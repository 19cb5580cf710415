"""One POST to a token endpoint with the standard library's HTTP client (docs/decisions/0013); it blocks, so it runs in a thread.

Proxies are those of the environment (HTTPS_PROXY, NO_PROXY), except for an endpoint on this machine. Redirects are not followed: what is
sent are secrets.
"""

import time
from base64 import b64encode
from http.client import HTTPException, HTTPResponse
from urllib.error import URLError
from urllib.parse import quote_plus, urlencode
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from postlane.adapters.relay_tls import verifying_tls
from postlane.config.oauth_section import OAuthSection
from postlane.core.oauth.token_reply import TokenReply, Unavailable, read_token_reply
from postlane.core.smtp.smtp_reply import one_line

ANSWER_BYTES_MAX = 256 * 1024  # tokens are a few KB
READ_BYTES = 16 * 1024
ERROR_TEXT_MAX = 200  # characters of a network error that are kept


class TokenEndpoint:
    """The endpoint of the account in this section of the configuration. Raises ConfigError for a certificate file that cannot be used."""

    def __init__(self, section: str, oauth: OAuthSection) -> None:
        self._oauth = oauth
        self._opener = OpenerDirector()
        tls = verifying_tls(f"{section}.oauth.ca_file", oauth.ca_file)
        proxies = ProxyHandler({}) if oauth.stays_here else ProxyHandler()
        # No handler for redirects and errors: every answer comes back as it is.
        for handler in (proxies, HTTPHandler(), HTTPSHandler(context=tls)):
            self._opener.add_handler(handler)

    def ask(self, refresh_token: str | None) -> TokenReply:
        """A token by this refresh token, or by client credentials (RFC 6749 sections 6 and 4.4)."""
        until = time.monotonic() + self._oauth.timeout_seconds
        try:
            with self._opener.open(
                self._request(refresh_token), timeout=self._oauth.timeout_seconds
            ) as answer:
                body = _read(answer, until)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return read_token_reply(answer.status, headers, body)
        except TimeoutError:
            return Unavailable(f"does not answer within {self._oauth.timeout_seconds:g} s")
        except URLError as error:
            if isinstance(error.reason, TimeoutError):
                return Unavailable(f"does not answer within {self._oauth.timeout_seconds:g} s")
            return Unavailable(f"cannot be reached: {one_line(str(error.reason), ERROR_TEXT_MAX)}")
        except (OSError, HTTPException) as error:
            words = one_line(str(error), ERROR_TEXT_MAX) or type(error).__name__
            return Unavailable(f"does not answer as an HTTP server: {words}")

    def basic_credentials(self) -> str:
        """What HTTP Basic encodes; each half is a form's value first (RFC 6749 section 2.3.1)."""
        secret = self._oauth.client_secret
        secret_value = "" if secret is None else secret.get_secret_value()
        return f"{quote_plus(self._oauth.client_id)}:{quote_plus(secret_value)}"

    def _request(self, refresh_token: str | None) -> Request:
        form = {"grant_type": "client_credentials"}
        if refresh_token is not None:
            form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        if self._oauth.scope is not None:
            form["scope"] = self._oauth.scope
        headers = {"Accept": "application/json", "User-Agent": "postlane"}
        if self._oauth.client_authentication == "basic":
            headers["Authorization"] = f"Basic {b64encode(self.basic_credentials().encode()).decode()}"
        else:
            form["client_id"] = self._oauth.client_id
            if self._oauth.client_secret is not None:
                form["client_secret"] = self._oauth.client_secret.get_secret_value()
        # The scheme was checked when the configuration was read, and this opener knows no other.
        return Request(self._oauth.token_url, urlencode(form).encode(), headers, method="POST")  # noqa: S310


def _read(answer: HTTPResponse, until: float) -> bytes:
    """The body; the socket's timeout is for each read, so the sum of them is watched. Raises TimeoutError."""
    body = bytearray()
    while part := answer.read1(READ_BYTES):
        body += part
        if len(body) > ANSWER_BYTES_MAX:
            return b""  # no token reply is that large
        if time.monotonic() > until:
            raise TimeoutError
    return bytes(body)
