"""The section of the configuration file about one relay."""

from datetime import UTC, date
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from postlane.config.oauth_section import OAuthSection
from postlane.config.secrets import Secret
from postlane.config.section import Section
from postlane.config.sections import Port, Tls
from postlane.core.addresses import wire_address
from postlane.core.limits.budgets import parse_budgets
from postlane.core.limits.limit import Limit
from postlane.core.limits.local_limits import local_limits
from postlane.core.limits.warm_up import parse_warm_up, warm_up_ledger
from postlane.core.sharing.relay_terms import RelayLimits


class RelaySection(Section):
    """An SMTP account; its name is yours to choose. Several are used in their order, or as [routes] says."""

    host: str = Field(description="the relay's host name", examples=["smtp.example.com"])
    port: Port = Field(587, description="587 with starttls, 465 with implicit, 25 inside a trusted network")
    tls: Tls = Field(Tls.STARTTLS, description="none sends everything readable, the password too")
    ca_file: Path | None = Field(
        None,
        description="own certificate authority; the system's when absent",
        examples=["/etc/postlane/relay-ca.pem"],
    )
    client_certificate_file: Path | None = Field(
        None,
        description="our own certificate (PEM), for relays that know us by it",
        examples=["/etc/postlane/relay-client.pem"],
    )
    client_key_file: Path | None = Field(
        None,
        description="its key, not encrypted; in client_certificate_file when absent",
        examples=["/etc/postlane/relay-client.key"],
    )
    username: str | None = Field(
        None, description="login; without it the relay must accept us as we are", examples=["postlane"]
    )
    password: Secret | None = Field(
        None, description="password of that login", examples=[{"env": "RELAY_PASSWORD"}]
    )
    oauth: OAuthSection | None = Field(None, description="OAuth 2 in place of the password")
    connections: int = Field(
        4, ge=1, le=200, description="sessions open at once, of all sender processes together"
    )
    mails_per_connection: int = Field(100, ge=1, description="a session is renewed after so many mails")
    timeout_seconds: float = Field(
        30.0, gt=0, le=600, description="for connect and for every command, the final dot included"
    )
    idle_seconds: float = Field(30.0, ge=0, description="an unused session is closed after this time")
    hold_seconds: float = Field(
        300.0, gt=0, description="first wait when the relay refuses everything and names no time itself"
    )
    hold_seconds_max: float = Field(3600.0, gt=0, description="repeated holds double up to this")
    recipients_per_mail: int | None = Field(
        None,
        ge=1,
        description="a mail to more recipients goes in parts; absent = as many as the relay takes",
        examples=[100],
    )
    bounce_address: str | None = Field(
        None,
        description="envelope sender of mail whose request names none, so that bounces come there; absent = the mail's From",
        examples=["bounces@example.com"],
    )
    verp: bool = Field(
        False,
        description="add a signed +tag to that envelope sender, which says of a bounce which mail and recipient it is about; its mailbox must "
        "take mail for +tags and be one of [mailboxes], and the relay must take such senders: several refuse all but the login's own address",
    )
    budgets: tuple[str, ...] = Field(
        (),
        description="what the relay takes, in mails or recipients per s, min, hour or day, from all sender processes together: a rolling "
        "span, or `calendar` with a time zone; mail above it waits, no attempt is counted",
        examples=[["2000 mails/day", "14 mails/s", "10000 recipients/day calendar Europe/Berlin"]],
    )
    warm_up: str | None = Field(
        None,
        description="mails on the first days of a new relay, and what follows; days are those of UTC",
        examples=["50, 100, 200, 500, 1000*2, then unlimited"],
    )
    warm_up_since: date | None = Field(None, description="the first of these days", examples=["2026-01-31"])
    ehlo_name: str | None = Field(
        None, description="name given in EHLO; the host's own when absent", examples=["mail.example.com"]
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "RelaySection":
        if self.password is not None and self.oauth is not None:
            raise ValueError("password and oauth exclude each other; keep the one that the relay wants")
        if self.oauth is not None and self.username is None:
            raise ValueError("oauth needs username: the account that the token is for")
        if (self.username is None) != (self.password is None and self.oauth is None):
            raise ValueError("username and password belong together; set both or neither")
        if self.client_key_file is not None and self.client_certificate_file is None:
            raise ValueError("client_key_file needs client_certificate_file")
        if self.client_certificate_file is not None and self.tls is Tls.NONE:
            raise ValueError('client_certificate_file needs tls = "starttls" or "implicit"')
        if self.hold_seconds > self.hold_seconds_max:
            raise ValueError(
                f"hold_seconds = {self.hold_seconds:g} is above hold_seconds_max = {self.hold_seconds_max:g}"
            )
        if (self.warm_up is None) != (self.warm_up_since is None):
            raise ValueError("warm_up and warm_up_since belong together; set both or neither")
        return self

    @field_validator("bounce_address")
    @classmethod
    def _is_an_address(cls, address: str | None) -> str | None:
        if address is not None and wire_address(address) is None:
            raise ValueError(f'"{address}" is not a mail address')
        return address

    @field_validator("budgets")
    @classmethod
    def _budgets_can_be_read(cls, budgets: tuple[str, ...]) -> tuple[str, ...]:
        parse_budgets(budgets, ZoneInfo)
        return budgets

    @field_validator("warm_up")
    @classmethod
    def _warm_up_can_be_read(cls, words: str | None) -> str | None:
        if words is not None:
            parse_warm_up(words)
        return words

    def shared_limits(self, name: str, lease_seconds: float) -> RelayLimits:
        """What all senders of the relay share."""
        return RelayLimits(
            relay=name,
            connections=self.connections,
            budgets=parse_budgets(self.budgets, ZoneInfo),
            warm_up=None if self.warm_up is None else parse_warm_up(self.warm_up),
            warm_up_since=self.warm_up_since or date.min,
            hold_seconds=self.hold_seconds,
            hold_seconds_max=self.hold_seconds_max,
            lease_seconds=lease_seconds,
        )

    def shared_section(self, lease_seconds: float) -> dict[str, object]:
        """What must be the same for all senders of the relay, by its key; nothing secret is among it."""
        keys = (
            "host",
            "port",
            "username",
            "connections",
            "budgets",
            "warm_up",
            "warm_up_since",
            "hold_seconds",
            "hold_seconds_max",
        )
        return {key: getattr(self, key) for key in keys} | {"outbound.lease_seconds": lease_seconds}

    def limits(self) -> tuple[Limit, ...]:
        """The budgets and the ramp, nothing used of them."""
        budgets = local_limits(parse_budgets(self.budgets, ZoneInfo))
        if self.warm_up is None or self.warm_up_since is None:
            return budgets
        return (*budgets, warm_up_ledger(parse_warm_up(self.warm_up), self.warm_up_since, UTC))
