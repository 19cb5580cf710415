"""Doctor's check of a mailbox: log in and open its folders as a poller would, and touch nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from postlane.config.mailbox_section import AfterCommit, MailboxSection
from postlane.config.sections import InboundSection
from postlane.config.settings import ConfigError
from postlane.core.events.received import MailboxCursor
from postlane.ops.check_mail import CHECK_SECONDS_MAX, missing_package
from postlane.ops.checks import Check, fail, ok, warn
from postlane.ports import MailSourceError, MailTrouble

if TYPE_CHECKING:
    from postlane.adapters.imap_connector import ImapConnector
    from postlane.adapters.imap_source import ImapSource

Cursors = Mapping[tuple[str, str], MailboxCursor]

FOLDERS_SHOWN_MAX = 30  # some accounts have thousands

ADVICE = "check host, port (993 with implicit TLS, else 143), and tls"
ADVICE_BY_TROUBLE = {
    MailTrouble.AUTH: "check username and password; some providers want an app password, or oauth",
    MailTrouble.GRANT: "check oauth: client_id, client_secret, scope and refresh_token; a grant that was revoked must be given anew",
    MailTrouble.TOKEN: "check that oauth.token_url can be reached from here",
    MailTrouble.LIMIT: "wait; then close other sessions of this account, or lower connections",
    MailTrouble.TLS: "check tls and port; for an own certificate authority set ca_file",
}


async def check_mailbox(name: str, mailbox: MailboxSection, cursors: Cursors | None) -> Check:
    """Log in, open each folder, and say how many mails `start` means. `cursors` is None where Kafka cannot be asked."""
    try:
        from postlane.adapters.imap_connector import ImapConnector  # noqa: PLC0415 - an extra of its own

        connector = ImapConnector(InboundSection(command_timeout_seconds=CHECK_SECONDS_MAX), {name: mailbox})
    except ModuleNotFoundError as error:
        return missing_package(f"mailbox {name}", error, "inbound")
    except ConfigError as error:
        return fail(f"mailbox {name}", str(error), f"[mailboxes.{name}]: leave client out")
    words: list[str] = []
    lacks: list[str] = []
    folder = mailbox.folder
    try:
        for folder in mailbox.folders:
            source = connector(mailbox)
            try:
                words.append(await _folder_words(source, name, mailbox, folder, cursors))
                lacks = _lacks(source, mailbox)
            finally:
                await source.close()
    except MailSourceError as error:
        advice = ADVICE_BY_TROUBLE.get(error.trouble, ADVICE)
        if error.trouble is MailTrouble.REFUSED:
            advice = await _folder_advice(connector, mailbox, folder) or advice
        return fail(f"mailbox {name}", "; ".join([*words, str(error)]), f"[mailboxes.{name}]: {advice}")
    finally:
        connector.close()
    if lacks:
        advice = f"[mailboxes.{name}]: set after to flag or nothing, or expunge the mailbox by other means"
        return warn(f"mailbox {name}", "; ".join([*words, *lacks]), advice)
    return ok(f"mailbox {name}", "; ".join(words))


async def _folder_advice(connector: "ImapConnector", mailbox: MailboxSection, folder: str) -> str | None:
    """What to do about a folder that cannot be opened; None where it is not the folder's fault."""
    try:
        there = await connector.folders(mailbox)
    except MailSourceError:
        return None
    named = ", ".join(there[:FOLDERS_SHOWN_MAX]) + (", ..." if len(there) > FOLDERS_SHOWN_MAX else "")
    if folder in there:
        return f'ask whoever runs the server why "{folder}" cannot be opened'
    return (
        f'make the folder "{folder}" on the server, or set folder and more_folders to some of these: {named}'
    )


async def _folder_words(
    source: "ImapSource", name: str, mailbox: MailboxSection, folder: str, cursors: Cursors | None
) -> str:
    """What is in a folder, and how far it was polled. Raises MailSourceError."""
    state = await source.open(folder)
    holds = f"{folder} holds {state.exists} mails"
    if cursors is None:
        return f"{holds}; whether it was polled before cannot be known now: its cursor cannot be read"
    cursor = cursors.get((name, folder))
    if cursor is not None:
        return f"{holds}; polled up to UID {cursor.uid}, {cursor.produced} mails produced so far"
    count = state.exists if mailbox.start == "all" else 0
    if not isinstance(mailbox.start, str):
        count = await source.count_since(datetime.combine(mailbox.start, time(), UTC))
    return f'{holds}; never polled; start = "{mailbox.start}" means {count} mails'


def _lacks(source: "ImapSource", mailbox: MailboxSection) -> list[str]:
    """What the server cannot do and `after` wants: a bare EXPUNGE would take others' mail, so it is never sent."""
    cannot = {
        AfterCommit.DELETE: not source.can("UIDPLUS"),
        AfterCommit.MOVE: not (source.can("UIDPLUS") or source.can("MOVE")),
    }
    if not cannot.get(mailbox.after, False):
        return []
    return ["the server has no UIDPLUS: what was produced stays in the folder, marked as deleted"]
