"""The section of the configuration file about one mailbox."""

import re
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from postlane.config.oauth_section import OAuthSection
from postlane.config.secrets import Secret
from postlane.config.section import Section
from postlane.config.sections import Port, Tls

SYSTEM_FLAGS = (
    "\\Answered",
    "\\Deleted",
    "\\Draft",
    "\\Flagged",
    "\\Seen",
)  # those that clients set (RFC 3501 section 2.3.2)
_KEYWORD = re.compile(r'[^\x00-\x20\x7f-\U0010ffff(){%*"\\\]]+')  # an atom (RFC 3501 section 9)


class AfterCommit(StrEnum):
    """What happens to a mail in its mailbox once its event is durable."""

    FLAG = "flag"
    MOVE = "move"
    DELETE = "delete"
    NOTHING = "nothing"


class ImapClient(StrEnum):
    """Which implementation speaks IMAP (docs/decisions/0020-imap-client.md)."""

    POSTLANE = "postlane"
    AIOIMAPLIB = "aioimaplib"


def _readable_start(value: object) -> object:
    if value in ("new", "all") or type(value) is date:
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError('it is "new", "all" or a date such as 2026-01-31') from None


Start = Annotated[Literal["new", "all"] | date, BeforeValidator(_readable_start)]


class MailboxSection(Section):
    """An IMAP account to be polled; the section's name is the mailbox's name in every event, so keep it."""

    host: str = Field(min_length=1, description="the server's host name", examples=["imap.example.com"])
    port: Port = Field(993, description="993 with implicit, 143 with starttls or none")
    tls: Tls = Field(
        Tls.IMPLICIT, description="none sends everything readable, the password too; see allow_plaintext"
    )
    ca_file: Path | None = Field(
        None,
        description="own certificate authority; the system's when absent",
        examples=["/etc/postlane/imap-ca.pem"],
    )
    allow_plaintext: bool = Field(
        False, description='with tls = "none", log in at another machine, too; without it only at this one'
    )
    username: str = Field(min_length=1, description="login", examples=["support@example.com"])
    password: Secret | None = Field(
        None,
        description='password of that login; also { file = "PATH" } or { env = "NAME" }',
        examples=["change-me"],
    )
    oauth: OAuthSection | None = Field(None, description="OAuth 2 in place of the password")
    folder: str = Field("INBOX", min_length=1, description="the folder that is polled")
    more_folders: tuple[str, ...] = Field(
        (), description="further folders that are polled, each by a session of its own", examples=[["Junk"]]
    )
    connections: int = Field(
        4,
        ge=1,
        le=100,
        description="sessions that a process may have at this account at once; each folder takes one. Gmail allows 15, "
        "Microsoft 365 20, other mail programs included",
    )
    start: Start = Field(
        "new",
        description='a mailbox never seen before starts with "new" mail, "all" mail, or a date such as 2026-01-31; '
        "`postlane doctor` says how many mails that means",
    )
    after: AfterCommit = Field(
        AfterCommit.FLAG, description="what happens to a mail once its event is in Kafka"
    )
    flag: str = Field("\\Seen", description='set when after = "flag"')
    move_to: str = Field("Processed", description='target when after = "move"')
    client: ImapClient = Field(
        ImapClient.POSTLANE,
        description="what speaks IMAP; aioimaplib has to be installed, and knows neither STARTTLS nor OAuth 2",
    )

    @property
    def folders(self) -> tuple[str, ...]:
        """All folders that are polled."""
        return (self.folder, *self.more_folders)

    @field_validator("flag")
    @classmethod
    def _flag_can_be_set(cls, flag: str) -> str:
        known = {system.lower().removeprefix("\\"): system for system in SYSTEM_FLAGS}
        name = flag.lower().removeprefix("\\")
        if name in known and not flag.startswith("\\"):
            raise ValueError(f"the flag of that name is {known[name]}, in TOML '{known[name]}'")
        if flag.startswith("\\") and name not in known:
            raise ValueError(f"with a backslash there are only {', '.join(SYSTEM_FLAGS)}")
        if not flag.startswith("\\") and not _KEYWORD.fullmatch(flag):
            raise ValueError('a keyword is ASCII without spaces, control characters and any of (){%*"\\]')
        return flag

    @model_validator(mode="after")
    def _logs_in_one_way(self) -> "MailboxSection":
        if self.password is not None and self.oauth is not None:
            raise ValueError("password and oauth exclude each other; keep the one that the server wants")
        if self.password is None and self.oauth is None:
            raise ValueError("set password or [mailboxes.NAME.oauth]: without one nobody is let in")
        if self.client is ImapClient.AIOIMAPLIB and (self.oauth is not None or self.tls is Tls.STARTTLS):
            raise ValueError('client = "aioimaplib" knows neither STARTTLS nor OAuth 2; leave client out')
        return self

    @model_validator(mode="after")
    def _folders_fit(self) -> "MailboxSection":
        folders = [_canonical(folder) for folder in self.folders]
        if wrong := [name for name in (*self.folders, self.move_to) if not name or not name.isprintable()]:
            raise ValueError(
                f"folder {wrong[0]!r}: a folder's name is not empty, and has no control characters"
            )
        if twice := [folder for folder in folders if folders.count(folder) > 1]:
            raise ValueError(f'folder "{twice[0]}" stands there twice')
        if len(folders) > self.connections:
            raise ValueError(
                f"{len(folders)} folders need as many sessions; raise connections = {self.connections} if the server allows it"
            )
        if self.after is AfterCommit.MOVE and _canonical(self.move_to) in folders:
            raise ValueError(
                f'move_to = "{self.move_to}" is a polled folder itself; mail would go round for ever'
            )
        return self


def _canonical(folder: str) -> str:
    """INBOX is the one name that is the same in any case (RFC 3501 section 5.1)."""
    return "INBOX" if folder.upper() == "INBOX" else folder
