"""The Dovecot of a run, which can be taken away and given back on the same mail; and what it does to the UIDs of a folder."""

import contextlib
import imaplib
import shutil
import tempfile
from pathlib import Path

from chaos.inbound.mailboxes import DONE, MAILBOXES, PLACES, TAKEN
from fakes.dovecot import Dovecot, DovecotOptions, run_dovecot

UID_FILES = ("dovecot-uidlist", "dovecot.index*")  # what a maildir that comes back from a backup has lost
UID_VALIDITY_STEP = 1000


def uid_validity_of(imap: imaplib.IMAP4) -> int:
    """That of the folder that was selected last."""
    _, found = imap.response("UIDVALIDITY")
    return int(found[0])


class MailServer:
    """Every method blocks; only one at a time."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._folder = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self._running = contextlib.ExitStack()
        try:
            self.dovecot: Dovecot = self._running.enter_context(
                run_dovecot(log, DovecotOptions(folder=self._folder))
            )
            self._maildirs = {place: self.dovecot.maildir(*place) for place in PLACES}
            for mailbox in MAILBOXES:
                with self.dovecot.client(mailbox) as imap:
                    for folder in (DONE, TAKEN):
                        imap.create(folder)
        except BaseException:
            self.close()
            raise

    def take_away(self) -> None:
        """Stop it: all connections end."""
        self._running.close()

    def give_back(self) -> None:
        """Start it on the same port and mail. Raises ServerFault."""
        ports = (self.dovecot.port, self.dovecot.tls_port)
        options = DovecotOptions(folder=self._folder, ports=ports)
        self.dovecot = self._running.enter_context(run_dovecot(self._log, options))

    def renumber(self, mailbox: str, folder: str) -> None:
        """Another UIDVALIDITY for the folder, under the eyes of everybody who has it open."""
        with self.dovecot.client(mailbox) as imap:
            imap.select(folder, readonly=True)
            before = uid_validity_of(imap)
        self.dovecot.renumber(mailbox, before + UID_VALIDITY_STEP, folder)

    def forget_uids(self, mailbox: str, folder: str) -> None:
        """While it is stopped: the next start numbers the folder's mails anew, in another order, under another UIDVALIDITY."""
        for pattern in UID_FILES:
            for path in self._maildirs[mailbox, folder].glob(pattern):
                path.unlink()

    def maildir(self, mailbox: str, folder: str) -> Path:
        """Where a delivery agent puts a mail of a polled folder."""
        return self._maildirs[mailbox, folder]

    def close(self) -> None:
        """Stop it and remove its mail."""
        self._running.close()
        shutil.rmtree(self._folder, ignore_errors=True)
