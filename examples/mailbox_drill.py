"""What the mailbox drills of docs/operations.md do at the mail server, as another mail program would.

    python examples/mailbox_drill.py create          make the polled folder
    python examples/mailbox_drill.py put 20          put so many mails into it
    python examples/mailbox_drill.py recreate        delete it and make it anew with the same mails: another UIDVALIDITY
    python examples/mailbox_drill.py spoil           put a mail into it that the blob store cannot take, and no other
    python examples/mailbox_drill.py mend            let the blob store take it
    python examples/mailbox_drill.py again UID       copy this mail to the end of the folder, where it counts as new, and delete the old one

The first configured mailbox is meant; the configuration is found as `postlane` finds it. For test servers with passwords and without TLS.
"""

import argparse
import imaplib
import sys
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from postlane.config.mailbox_section import MailboxSection
from postlane.config.settings import Settings, load_settings
from postlane.core.blob_names import blob_place

SPOILED = Path(".local/spoiled")  # remembers which place in the blob store is blocked


def mail(number: int) -> bytes:
    """A small mail."""
    return (
        f"From: Ann <ann@customer.test>\r\nTo: support@desk.test\r\nSubject: drill {number}\r\n"
        f"Message-ID: <{uuid4().hex}@customer.test>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\nwords\r\n"
    ).encode()


def logged_in(section: MailboxSection) -> imaplib.IMAP4:
    """A session of the standard library."""
    assert section.password is not None
    session = imaplib.IMAP4(section.host, section.port)
    session.login(section.username, section.password.get_secret_value())
    return session


def put(session: imaplib.IMAP4, folder: str, mails: list[bytes]) -> None:
    """Append them."""
    for raw in mails:
        answer, words = session.append(folder, "", "", raw)
        if answer != "OK":
            sys.exit(f"the server takes no mail: {words}")


def contents(session: imaplib.IMAP4, folder: str, uids: str = "1:*") -> list[bytes]:
    """The raw mails."""
    session.select(folder, readonly=True)
    _, items = session.uid("FETCH", uids, "(BODY.PEEK[])")
    return [item[1] for item in items if isinstance(item, tuple)]


def recreate(session: imaplib.IMAP4, folder: str) -> None:
    """Another folder of the same name with the same mails."""
    mails = contents(session, folder)
    session.close()
    session.delete(folder)
    session.create(folder)
    put(session, folder, mails)
    print(f"{folder} is made anew with {len(mails)} mails")


def spoil(session: imaplib.IMAP4, folder: str, settings: Settings) -> None:
    """Block the place of the newest mail's blob."""
    put(session, folder, [mail(666)])
    block(settings.blobs.directory, contents(session, folder, "*")[-1])
    print(f"one mail is in {folder} that cannot be stored")


def block(blobs: Path, raw: bytes) -> None:
    """Let this blob find no room in the store."""
    place = blobs / blob_place(sha256(raw).hexdigest())
    place.mkdir(parents=True)  # a directory where the file should be
    (place / "in the way").touch()
    SPOILED.write_text(str(place))


def mend() -> None:
    """Undo it."""
    place = Path(SPOILED.read_text())
    (place / "in the way").unlink()
    place.rmdir()
    print("it can be stored now")


def again(session: imaplib.IMAP4, folder: str, uid: str) -> None:
    """A new number for this mail."""
    session.select(folder)
    session.uid("COPY", uid, folder)
    session.uid("STORE", uid, "+FLAGS", "(\\Deleted)")
    session.uid("EXPUNGE", uid)
    print(f"mail {uid} is at the end of {folder} now")


def main() -> None:
    """One command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["create", "put", "recreate", "spoil", "mend", "again"])
    parser.add_argument("value", nargs="?", default="1")
    options = parser.parse_args()
    settings = load_settings()
    section = next(iter(settings.mailboxes.values()))
    session = logged_in(section)
    match options.command:
        case "create":
            session.create(section.folder)
            print(f"{section.folder} is there")
        case "put":
            put(session, section.folder, [mail(number) for number in range(int(options.value))])
            print(f"{options.value} mails are in {section.folder}")
        case "recreate":
            recreate(session, section.folder)
        case "spoil":
            spoil(session, section.folder, settings)
        case "mend":
            mend()
        case _:
            again(session, section.folder, options.value)
    session.logout()


if __name__ == "__main__":
    main()
