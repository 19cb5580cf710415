"""Which mail of a folder is to blame for failures, so that it can be given up and the mailbox moves on."""

from collections.abc import Sequence
from dataclasses import dataclass

from postlane.core.polling.folder import ListedMail

FAILURES_MAX = 5  # the fifth failure of one mail, with the mailbox working otherwise, is the mail's own fault


@dataclass(frozen=True, slots=True)
class Suspect:
    """Where fetching, storing or producing has failed: which mail, how often in a row, and up to where mails are taken one by one."""

    uid: int
    failures: int
    alone_until_uid: int

    @property
    def is_poison(self) -> bool:
        """Whether to give the mail up, so that the mailbox moves on."""
        return self.failures >= FAILURES_MAX


def suspect_after(suspect: Suspect | None, first_uid: int, last_uid: int) -> Suspect:
    """Count a failure of a chunk; one mail alone is to blame, of several any may be, so that they are tried one by one."""
    if first_uid < last_uid:
        return Suspect(first_uid, 0, last_uid)
    alone_until = max(last_uid, suspect.alone_until_uid if suspect else 0)
    failures = suspect.failures if suspect and suspect.uid == first_uid else 0
    return Suspect(first_uid, failures + 1, alone_until)


def under_suspicion(suspect: Suspect | None, listed: Sequence[ListedMail]) -> Sequence[ListedMail]:
    """The first mail alone while one of a failed chunk is still to come, else all."""
    return listed[:1] if suspect and listed and listed[0].uid <= suspect.alone_until_uid else listed
