"""Who else is at the mailboxes: the one who delivers, and another mail program that flags all mail and takes away what is an event already."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from chaos.inbound.mail_server import MailServer, uid_validity_of
from chaos.inbound.mailboxes import PLACES, TAKEN
from chaos.inbound.verdict import Event
from chaos.inbound.workload import Letter

FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "$Work", "$Junk")
RESETTABLE = tuple(flag for flag in FLAGS if flag != "\\Seen")  # that one says that a mail is settled
FLAGGED_AT_ONCE, TAKEN_AT_ONCE = 20, 5


class Postman:
    """Delivers into the polled folders: some mail by APPEND, most of it as a file."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    def deliver(self, letters: Sequence[Letter]) -> None:
        """Put them into their mailboxes, in their order."""
        for letter in letters:
            if letter.appended:
                with self._server.dovecot.client(letter.mailbox) as imap:
                    answer, words = imap.append(letter.folder, f"({letter.flags})", "", letter.raw)
                    assert answer == "OK", words
            else:
                self._drop(letter)

    def _drop(self, letter: Letter) -> None:
        place = self._server.maildir(letter.mailbox, letter.folder)
        name = f"{1_795_000_000 + letter.number}.{letter.digest[:16]}.chaos"
        written = place / "tmp" / name
        written.write_bytes(letter.raw)
        written.chmod(0o666)
        written.rename(place / "new" / name)


class OtherClient:
    """`removed` are the hashes of what it took out of its mailbox altogether."""

    def __init__(self, server: MailServer, seed: int) -> None:
        self.removed: set[str] = set()
        self.did: Counter[str] = Counter()
        self._server = server
        self._rnd = random.Random(f"{seed}:other")

    def act(self, events: Sequence[Event]) -> None:
        """One visit in one folder; only of these mails anything may be moved or removed."""
        mailbox, folder = self._rnd.choice(PLACES)
        by_validity: defaultdict[int, dict[int, Event]] = defaultdict(dict)
        for event in events:
            if (event.mailbox, event.folder) == (mailbox, folder):
                by_validity[event.uid_validity][event.uid] = event
        with self._server.dovecot.client(mailbox) as imap:
            imap.select(folder)
            uid_validity = uid_validity_of(imap)
            _, found = imap.uid("SEARCH", "ALL")
            uids = [int(word) for word in found[0].split()]
            committed = [uid for uid in uids if uid in by_validity[uid_validity]]
            if committed and self._rnd.random() < 0.5:
                chosen = self._rnd.sample(committed, min(len(committed), TAKEN_AT_ONCE))
                if self._rnd.random() < 0.7:
                    imap.uid("MOVE", _set(chosen), TAKEN)
                    self.did["moved"] += len(chosen)
                else:
                    self.removed |= {by_validity[uid_validity][uid].digest for uid in chosen}
                    imap.uid("STORE", _set(chosen), "+FLAGS.SILENT", "(\\Deleted)")
                    imap.uid("EXPUNGE", _set(chosen))
                    self.did["removed"] += len(chosen)
            elif uids:
                chosen = self._rnd.sample(uids, min(len(uids), FLAGGED_AT_ONCE))
                sign = self._rnd.choice("+-")
                flag = self._rnd.choice(FLAGS if sign == "+" else RESETTABLE)
                imap.uid("STORE", _set(chosen), f"{sign}FLAGS", f"({flag})")
                self.did["flagged"] += len(chosen)


def _set(uids: Sequence[int]) -> str:
    return ",".join(map(str, sorted(uids)))
