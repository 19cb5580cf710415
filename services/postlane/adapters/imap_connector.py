"""Makes the sessions of a process's mailboxes: what they share is here, the cap on sessions and the access tokens."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec

from postlane.adapters.imap_account import ImapAccount, SessionSlots
from postlane.adapters.imap_client import ImapClient, PostlaneClient
from postlane.adapters.imap_source import ImapSource
from postlane.adapters.refresh_tokens import Owner
from postlane.adapters.token_source import Standing, TokenSource
from postlane.config.mailbox_section import ImapClient as ClientChoice
from postlane.config.mailbox_section import MailboxSection
from postlane.config.sections import InboundSection
from postlane.config.settings import ConfigError
from postlane.ports import MailSourceError, MailTrouble

ANSWER_SLACK_FACTOR = 2  # a server's word on the size of a mail is an estimate (Exchange), or wrong
ANSWER_SLACK_BYTES = 16 * 2**20

NoteGrant = Callable[[str, Standing], None]


class ImapConnector:
    """Call it for a session that is not opened yet. `mailboxes` gives the names under which tokens are spoken of; `note` hears how their grants stand.

    Raises ConfigError where a mailbox wants a client that is not there.
    """

    def __init__(
        self,
        inbound: InboundSection,
        mailboxes: Mapping[str, MailboxSection] | None = None,
        note: NoteGrant | None = None,
    ) -> None:
        for name, mailbox in (mailboxes or {}).items():
            if mailbox.client is ClientChoice.AIOIMAPLIB and find_spec("aioimaplib") is None:
                words = f'mailboxes.{name}: client = "aioimaplib", and that package is not installed'
                raise ConfigError(f"{words}; install it, or leave client out")
        self._inbound = inbound
        self._note = note
        self._mailboxes = dict(mailboxes or {})
        self._slots = SessionSlots()
        self._tokens: dict[str, TokenSource] = {}

    def __call__(self, mailbox: MailboxSection) -> ImapSource:
        """A session to a mailbox; what is wrong with it is raised when it is opened."""
        return ImapSource(self._client(mailbox))

    async def folders(self, mailbox: MailboxSection) -> list[str]:
        """The names of all folders of an account, by our own client in a session of its own. Raises MailSourceError."""
        client = self._own_client(mailbox)
        try:
            await client.log_in()
            return await client.folders()
        finally:
            await client.close()

    def close(self) -> None:
        """Renew no more tokens."""
        for tokens in self._tokens.values():
            tokens.close()

    def _client(self, mailbox: MailboxSection) -> ImapClient:
        if mailbox.client is ClientChoice.AIOIMAPLIB:
            # An extra of its own, which only this choice needs.
            from postlane.adapters.aioimaplib_session import AioimaplibSession  # noqa: PLC0415

            return AioimaplibSession(self._account(mailbox))
        return self._own_client(mailbox)

    def _own_client(self, mailbox: MailboxSection) -> PostlaneClient:
        return PostlaneClient(
            self._account(mailbox),
            tokens=lambda: self._token_source(mailbox),
            slots=self._slots,
            connections=mailbox.connections,
        )

    def _account(self, mailbox: MailboxSection) -> ImapAccount:
        inbound = self._inbound
        largest = max(inbound.chunk_bytes, inbound.oversize_bytes)
        return ImapAccount(
            host=mailbox.host,
            port=mailbox.port,
            username=mailbox.username,
            password="" if mailbox.password is None else mailbox.password.get_secret_value(),
            tls=mailbox.tls,
            ca_file=mailbox.ca_file,
            allow_plaintext=mailbox.allow_plaintext,
            mechanism="auto" if mailbox.oauth is None else mailbox.oauth.mechanism,
            command_timeout_seconds=inbound.command_timeout_seconds,
            answer_bytes_max=ANSWER_SLACK_FACTOR * largest + ANSWER_SLACK_BYTES,
        )

    def _token_source(self, mailbox: MailboxSection) -> TokenSource | None:
        """The mailbox's tokens, made with its first session. Raises MailSourceError for files that cannot be used."""
        if mailbox.oauth is None:
            return None
        name = next(
            (name for name, section in self._mailboxes.items() if section == mailbox), mailbox.username
        )
        if name not in self._tokens:
            try:
                note = None if self._note is None else partial(self._note, name)
                self._tokens[name] = TokenSource(name, mailbox.oauth, owner=Owner.MAILBOX, note=note)
            except ConfigError as error:
                raise MailSourceError(str(error), trouble=MailTrouble.GRANT) from None
        return self._tokens[name]
