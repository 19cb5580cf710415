"""The section of the configuration file by which a relay or mailbox is logged in to with OAuth 2."""

from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from postlane.config.secrets import Secret
from postlane.config.section import Section


class OAuthSection(Section):
    """OAuth 2 in place of a password: access tokens are had from `token_url`, and renewed long before they expire."""

    token_url: str = Field(
        description="the provider's token endpoint",
        examples=["https://login.microsoftonline.com/TENANT/oauth2/v2.0/token"],
    )
    client_id: str = Field(
        min_length=1,
        description="the application as the provider knows it",
        examples=["11112222-bbbb-3333-cccc-4444dddd5555"],
    )
    client_secret: Secret | None = Field(
        None,
        description="secret of that application; only a public client with a refresh token has none",
        examples=[{"env": "RELAY_CLIENT_SECRET"}],
    )
    refresh_token: Secret | None = Field(
        None,
        description="grant of the mailbox's owner; without it the application logs in for itself (client credentials)",
        examples=[{"file": "/run/secrets/relay-refresh"}],
    )
    refresh_token_file: Path | None = Field(
        None,
        description="where a new refresh token is kept, for providers that replace it with each use; written by Postlane, one file "
        "for all processes of this account",
        examples=["/var/lib/postlane/relay-main.refresh-token"],
    )
    scope: str | None = Field(
        None,
        description="what the token is for, as the provider calls it; Google wants none with a refresh token",
        examples=["https://outlook.office365.com/.default"],
    )
    mechanism: Literal["auto", "xoauth2", "oauthbearer"] = Field(
        "auto", description="how the token is shown to the server; auto: oauthbearer where it is offered"
    )
    client_authentication: Literal["body", "basic"] = Field(
        "body", description="how client_id and client_secret are sent: in the form, or as HTTP Basic"
    )
    ca_file: Path | None = Field(
        None,
        description="own certificate authority of the token endpoint; the system's when absent",
        examples=["/etc/postlane/idp-ca.pem"],
    )
    timeout_seconds: float = Field(
        10.0, gt=0, le=60, description="for an answer of the token endpoint; the old token is used meanwhile"
    )

    @property
    def token_host(self) -> str:
        """The endpoint's host name."""
        return urlsplit(self.token_url).hostname or ""

    @property
    def stays_here(self) -> bool:
        """Whether the endpoint is on this very machine."""
        return _is_loopback(self.token_host)

    @field_validator("token_url")
    @classmethod
    def _url_keeps_secrets(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"https", "http"} or not parts.hostname:
            raise ValueError("a token endpoint's address begins with https:// and has a host name")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError(
                "secrets are sent there: it must begin with https:// (http only on this machine)"
            )
        if "@" in parts.netloc or parts.fragment:
            raise ValueError("a token endpoint's address has no user, password or #fragment")
        _ = parts.port  # raises ValueError for one that cannot be
        return url

    @model_validator(mode="after")
    def _fits_together(self) -> "OAuthSection":
        if self.client_secret is None and self.refresh_token is None:
            raise ValueError(
                "set client_secret (the application logs in for itself), refresh_token (it acts for somebody), or both"
            )
        if self.refresh_token_file is not None and self.refresh_token is None:
            raise ValueError("refresh_token_file keeps what follows refresh_token; set that, too")
        if self.client_secret is None and self.client_authentication == "basic":
            raise ValueError('client_authentication = "basic" needs client_secret')
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
