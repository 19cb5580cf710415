"""Which mail of a folder is to blame for failures, so that it can be given up and the mailbox moves on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from postlane.core.polling.folder import ListedMail

FAILURES_MAX = 5  # the fifth failure of one mail, with the mailbox working otherwise, is the mail's own fault
BREAKERS_MAX = 200  # remembered; more neighbours that all break a session are the server's trouble


@dataclass(frozen=True, slots=True)
class Suspect:
    """Where fetching, storing or producing has failed: which mail, how often in a row, and up to where mails are taken one by one.

    `breakers` are mails that broke the session when they were asked to witness: they may be as bad as the suspect, and say nothing about the server.
    """

    uid: int
    failures: int
    alone_until_uid: int
    breakers: frozenset[int] = frozenset()

    @property
    def is_poison(self) -> bool:
        """Whether to give the mail up, so that the mailbox moves on."""
        return self.failures >= FAILURES_MAX


def suspect_after(suspect: Suspect | None, first_uid: int, last_uid: int) -> Suspect:
    """Count a failure of a chunk; one mail alone is to blame, of several any may be, so that they are tried one by one."""
    breakers = suspect.breakers if suspect else frozenset()
    if first_uid < last_uid:
        return Suspect(first_uid, 0, last_uid, breakers)
    alone_until = max(last_uid, suspect.alone_until_uid if suspect else 0)
    failures = suspect.failures if suspect and suspect.uid == first_uid else 0
    return Suspect(first_uid, failures + 1, alone_until, breakers)


def suspect_given_up(suspect: Suspect) -> Suspect:
    """It is in quarantine; its neighbours are still tried one by one."""
    return Suspect(suspect.uid, 0, suspect.alone_until_uid, suspect.breakers)


def with_breaker(suspect: Suspect, uid: int) -> Suspect:
    """One more mail that broke the session."""
    return replace(
        suspect,
        breakers=suspect.breakers | {uid} if len(suspect.breakers) < BREAKERS_MAX else suspect.breakers,
    )


def witnesses(suspect: Suspect, listed: Sequence[ListedMail], older: Iterable[int]) -> list[int]:
    """The mails that may show that the server hands mail out: the newest first, because bad mails come in neighbours."""
    newer = [mail.uid for mail in reversed(listed) if mail.uid > suspect.uid]
    return [uid for uid in (*newer, *older) if uid not in suspect.breakers]


def under_suspicion(suspect: Suspect | None, listed: Sequence[ListedMail]) -> Sequence[ListedMail]:
    """The first mail alone while one of a failed chunk is still to come, else all."""
    return listed[:1] if suspect and listed and listed[0].uid <= suspect.alone_until_uid else listed
