"""Which refresh token is used next, and that its successor is not lost. All calls block."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import structlog

from postlane.adapters.refresh_token_file import RefreshTokenFile, RefreshTokenFileError
from postlane.config.oauth_section import OAuthSection
from postlane.config.settings import ConfigError

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Exchange:
    """One use of the refresh token in `given` (None: client credentials); `kept` is set to a successor that came back."""

    given: str | None
    kept: str | None = None


class Owner(StrEnum):
    """Whose account it is that is logged in to by access token."""

    RELAY = "relay"
    MAILBOX = "mailbox"

    def section(self, name: str) -> str:
        """Its section of the configuration."""
        return f"{'mailboxes' if self is Owner.MAILBOX else 'relays'}.{name}"

    def bound(self, name: str) -> dict[str, str]:
        """How lines of the log name it."""
        return {self.value: name}


class RefreshTokens:
    """The refresh token of the `owner` called `name`. Raises ConfigError for a file that cannot be used."""

    def __init__(self, name: str, oauth: OAuthSection, owner: Owner = Owner.RELAY) -> None:
        self._bound = owner.bound(name)
        self._current = None if oauth.refresh_token is None else oauth.refresh_token.get_secret_value()
        self._unsaved = False
        self.unkept = False  # a successor came, and there is no file for it
        self._file: RefreshTokenFile | None = None
        if oauth.refresh_token_file is not None and self._current is not None:
            self._file = RefreshTokenFile(oauth.refresh_token_file, self._current)
            try:
                self._file.prepare()
            except RefreshTokenFileError as error:
                raise ConfigError(f"{owner.section(name)}.oauth.refresh_token_file: {error}") from None

    @property
    def current(self) -> str:
        """The token that was used or received last; empty without one."""
        return self._current or ""

    @property
    def unsaved(self) -> bool:
        """Whether a successor stands in memory alone although it has a file."""
        return self._unsaved

    @contextlib.contextmanager
    def exchange(self, wait_seconds: float) -> Iterator[Exchange]:
        """One use of the token, alone among all processes that share the file. Raises RefreshTokenFileError before it."""
        if self._file is None:
            exchange = Exchange(self._current)
            yield exchange
            self._keep(exchange.kept)
            return
        with self._file.locked(wait_seconds):
            if not self._unsaved:
                self._current = self._file.read()
            exchange = Exchange(self._current)
            yield exchange
            self._keep(exchange.kept)

    def save(self, wait_seconds: float) -> None:
        """Write what could not be written before."""
        if self._file is None or not self._unsaved or self._current is None:
            return
        try:
            with self._file.locked(wait_seconds):
                self._file.write(self._current)
        except RefreshTokenFileError as error:
            log.error("refresh_not_saved", **self._bound, reason=str(error))
            return
        self._unsaved = False
        log.info("refresh_saved", **self._bound)

    def _keep(self, successor: str | None) -> None:
        """Make a successor durable before anything else happens; it is used from memory where that fails."""
        if successor is None or successor == self._current:
            return
        self._current = successor
        if self._file is None:
            if not self.unkept:
                self.unkept = True
                reason = "the provider replaced the refresh token; set refresh_token_file, or it is lost with this process"
                log.warning("refresh_not_kept", **self._bound, reason=reason)
            return
        try:
            self._file.write(successor)
            self._unsaved = False
        except RefreshTokenFileError as error:
            self._unsaved = True
            log.error("refresh_not_saved", **self._bound, reason=str(error))
