"""The sections of the configuration file that say when people are told that something is wrong, and how."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from postlane.config.relay_section import RelaySection
from postlane.config.secrets import Secret
from postlane.config.section import Section
from postlane.config.sections import Port, Tls
from postlane.core.addresses import wire_address
from postlane.core.alerts.conditions import Thresholds
from postlane.core.alerts.raising import Pace

SIGNING_KEY_BYTES_MIN = 24  # Standard Webhooks: 24 to 64 bytes
SIGNING_KEY_PREFIX = "whsec_"
OWN_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    }
)

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_URL = re.compile(r"[!-~]+")


class WebhookSection(Section):
    """Alerts by HTTP: a JSON document by POST, as docs/operations.md describes it."""

    url: Secret = Field(
        description="where it is sent; https, or http inside a trusted network. It is never shown, since many such addresses are secrets",
        examples=[{"env": "ALERT_WEBHOOK_URL"}],
    )
    signing_secret: Secret | None = Field(
        None,
        description="key of at least 24 bytes in Base64 that signs each request as Standard Webhooks does, such as `openssl rand -base64 32` prints",
        examples=[{"file": "/run/secrets/alert-webhook-key"}],
    )
    headers: dict[str, Secret] = Field(
        default_factory=dict,
        description="further headers; never shown",
        examples=[{"Authorization": {"env": "ALERT_WEBHOOK_TOKEN"}}],
    )
    ca_file: Path | None = Field(
        None,
        description="own certificate authority; the system's when absent",
        examples=["/etc/postlane/webhook-ca.pem"],
    )
    timeout_seconds: float = Field(10.0, gt=0, le=60, description="for the answer")

    @property
    def host(self) -> str:
        """The receiver's host name, all of the address that may be shown."""
        return urlsplit(self.url.get_secret_value()).hostname or ""

    @property
    def stays_here(self) -> bool:
        """Whether the receiver is on this very machine."""
        return _is_loopback(self.host)

    @property
    def signing_key(self) -> bytes | None:
        """What signs; None without a secret."""
        return None if self.signing_secret is None else _signing_key(self.signing_secret)

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: Secret) -> Secret:
        value = url.get_secret_value()
        parts = _split(value)
        if not _URL.fullmatch(value) or parts is None or parts[0] not in {"https", "http"} or not parts[1]:
            raise ValueError("a webhook's address begins with https:// or http:// and has a host name")
        if "@" in parts[2]:
            raise ValueError("a webhook's address has no user and password; use headers")
        return url

    @field_validator("signing_secret")
    @classmethod
    def _signs(cls, secret: Secret | None) -> Secret | None:
        if secret is not None:
            _signing_key(secret)
        return secret

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, Secret]) -> dict[str, Secret]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or name.lower() in OWN_HEADERS:
                raise ValueError(f'"{name}" is no header that can be added')
            if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"the value of {name} cannot be a header's: it must be printable ASCII")
        return headers

    @model_validator(mode="after")
    def _headers_stay_secret(self) -> "WebhookSection":
        if self.headers and not self.stays_here and urlsplit(self.url.get_secret_value()).scheme == "http":
            raise ValueError(
                "headers may be secrets: with them url must begin with https:// (http only on this machine)"
            )
        return self


class NotifyMailSection(Section):
    """Alerts by mail, over an SMTP account of its own: news of a broken relay cannot go by that relay."""

    host: str = Field(description="the server's host name", examples=["smtp.other-provider.example"])
    port: Port = Field(587, description="587 with starttls, 465 with implicit, 25 inside a trusted network")
    tls: Tls = Field(Tls.STARTTLS, description="none sends everything readable, the password too")
    ca_file: Path | None = Field(
        None,
        description="own certificate authority; the system's when absent",
        examples=["/etc/postlane/alert-mail-ca.pem"],
    )
    username: str | None = Field(
        None, description="login; without it the server must accept us as we are", examples=["alerts"]
    )
    password: Secret | None = Field(
        None, description="password of that login", examples=[{"env": "ALERT_MAIL_PASSWORD"}]
    )
    sender: str = Field(description="the From address", examples=["postlane@example.com"])
    recipients: tuple[str, ...] = Field(
        min_length=1, max_length=20, description="who is told", examples=[["operators@example.com"]]
    )
    timeout_seconds: float = Field(30.0, gt=0, le=60, description="for connect and for every command")

    def as_relay(self) -> RelaySection:
        """As the SMTP adapter knows it: one session for one mail."""
        return RelaySection(
            host=self.host,
            port=self.port,
            tls=self.tls,
            ca_file=self.ca_file,
            username=self.username,
            password=self.password,
            timeout_seconds=self.timeout_seconds,
            connections=1,
            mails_per_connection=1,
            idle_seconds=0,
        )

    def is_account_of(self, relay: RelaySection) -> bool:
        """Whether this is the very account of a relay."""
        ours, theirs = (
            (self.host.lower(), self.port, self.username),
            (relay.host.lower(), relay.port, relay.username),
        )
        return ours == theirs

    @field_validator("sender")
    @classmethod
    def _sender_is_an_address(cls, address: str) -> str:
        return _wire(address)

    @field_validator("recipients")
    @classmethod
    def _recipients_are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_wire(address) for address in addresses)

    @model_validator(mode="after")
    def _login_is_whole(self) -> "NotifyMailSection":
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together; set both or neither")
        return self


class NotifySection(Section):
    """Alerts of the services: each is a line in the log and a metric, and goes to the webhook and the mailbox below, where they are set."""

    held_seconds: float = Field(
        900.0, ge=0, description="a relay that a limit has held for so long is worth an alert"
    )
    circuit_seconds: float = Field(
        60.0,
        ge=0,
        description="the same for one that cannot be used: not reachable, no valid certificate, refuses everything",
    )
    backlog_seconds: float = Field(
        1800.0, gt=0, description="mail that may go, and has been waiting for so long, is worth an alert"
    )
    dlq_mails_per_hour: int = Field(
        20,
        ge=0,
        description="more dead letters within an hour, as one process writes them, are worth an alert",
    )
    distrusted_mails_per_hour: int = Field(
        10,
        ge=0,
        description="more mails within an hour that a relay does not want (block lists, spam, missing authentication) are worth an alert",
    )
    mailbox_unchecked_seconds: float = Field(
        600.0,
        ge=60,
        description="a mailbox that has not been looked through to its end for so long, by a failure or a backlog, is worth an alert",
    )
    settle_seconds: float = Field(
        300.0,
        ge=0,
        description="an alert is over when its cause has been gone for so long; doubled each time it comes back soon",
    )
    repeat_seconds: float = Field(
        14_400.0, ge=60, description="people are reminded of what still stands at most this often"
    )
    webhook: WebhookSection | None = Field(None, description="alerts by HTTP")
    mail: NotifyMailSection | None = Field(None, description="alerts by mail")

    def thresholds(self) -> Thresholds:
        """As the core takes them."""
        return Thresholds(
            held_seconds=self.held_seconds,
            circuit_seconds=self.circuit_seconds,
            backlog_seconds=self.backlog_seconds,
            dlq_mails_per_hour=self.dlq_mails_per_hour,
            distrusted_mails_per_hour=self.distrusted_mails_per_hour,
        )

    def pace(self) -> Pace:
        """As the core takes it."""
        return Pace(settle_seconds=self.settle_seconds, repeat_seconds=self.repeat_seconds)


def _wire(address: str) -> str:
    wire = wire_address(address)
    if wire is None or not wire.isascii():
        raise ValueError(f'"{address}" is no address such as operators@example.com')
    return wire


def _split(url: str) -> tuple[str, str | None, str] | None:
    """Scheme, host and authority; None for what cannot be read."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts.scheme, parts.hostname, parts.netloc


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _signing_key(secret: Secret) -> bytes:
    try:
        key = b64decode(secret.get_secret_value().removeprefix(SIGNING_KEY_PREFIX), validate=True)
    except (Base64Error, ValueError):
        key = b""
    if len(key) < SIGNING_KEY_BYTES_MIN:
        raise ValueError(
            f"it must be Base64 of at least {SIGNING_KEY_BYTES_MIN} bytes; `openssl rand -base64 32` prints one"
        )
    return key
