"""What is wrong, from plain observations of the inbound service.

A mailbox that does not let us in is said at once, because only a person can mend that. Any other trouble, and a backlog, is one thing: the folder has not been
looked through to its end for too long.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from postlane.core.alerts.catalogue import AlertName
from postlane.core.alerts.conditions import CAUSE_GRANT_ENDS
from postlane.core.alerts.raising import Condition
from postlane.core.smtp.smtp_reply import one_line

LOGIN_KINDS = frozenset({"auth", "grant"})

CAUSE_BACKLOG = "backlog"
CAUSE_RENUMBERED = "uid_validity"
CAUSE_QUARANTINED = "quarantined"

REASON_MAX = 500

Place = tuple[str, str]  # mailbox, folder


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSeen:
    """How the polling of a folder goes; times in seconds since 1970.

    `checked_at`: when it was last looked through to its end, or when this process took it over. `renumbered` and `quarantined` count since the process took it
    over, with words about the last one.
    """

    mailbox: str
    folder: str
    checked_at: float
    lag: int = 0
    error_kind: str | None = None
    error: str = ""
    error_since: float = 0.0
    renumbered: int = 0
    renumbering: str = ""
    quarantined: int = 0
    quarantine: str = ""

    @property
    def place(self) -> Place:
        """Which folder it is."""
        return self.mailbox, self.folder

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.mailbox}/{self.folder}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantSeen:
    """How a mailbox's OAuth 2 grant stands. `trouble`: why a person must give it anew; `days_left` where it ends soon."""

    mailbox: str
    trouble: str | None = None
    days_left: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderHour:
    """What was counted within the last hour, by folder."""

    renumbered: Mapping[Place, int] = field(default_factory=dict)
    quarantined: Mapping[Place, int] = field(default_factory=dict)


def mailbox_conditions(
    folders: Sequence[FolderSeen],
    grants: Iterable[GrantSeen],
    last_hour: FolderHour,
    unchecked_seconds: float,
    now: float,
) -> tuple[Condition, ...]:
    """All that hold at `now` (seconds since 1970), however shortly; at most one of an alert and subject."""
    found = [
        *(condition for grant in grants for condition in _of_grant(grant, now)),
        *(condition for seen in folders for condition in _of_folder(seen, last_hour, unchecked_seconds, now)),
    ]
    return tuple({condition.key: condition for condition in reversed(found)}.values())


def _of_grant(grant: GrantSeen, now: float) -> Iterator[Condition]:
    if grant.trouble is not None:
        yield Condition(
            alert=AlertName.MAILBOX_LOGIN_BROKEN,
            subject=grant.mailbox,
            since=now,
            cause="grant",
            reason=one_line(grant.trouble, REASON_MAX),
        )
    if grant.days_left is not None:
        yield Condition(
            alert=AlertName.MAILBOX_GRANT_ENDS,
            subject=grant.mailbox,
            since=now,
            cause=CAUSE_GRANT_ENDS,
            reason=f"{grant.days_left:.0f} days are left",
        )


def _of_folder(
    seen: FolderSeen, last_hour: FolderHour, unchecked_seconds: float, now: float
) -> Iterator[Condition]:
    if seen.error_kind in LOGIN_KINDS:
        yield Condition(
            alert=AlertName.MAILBOX_LOGIN_BROKEN,
            subject=seen.mailbox,
            since=seen.error_since,
            cause=seen.error_kind or "auth",
            reason=one_line(seen.error, REASON_MAX),
        )
    elif now - seen.checked_at > unchecked_seconds:
        words = seen.error if seen.error_kind else f"{seen.lag} mails have not been taken yet"
        yield Condition(
            alert=AlertName.MAILBOX_BEHIND,
            subject=seen.name,
            since=seen.checked_at,
            cause=seen.error_kind or CAUSE_BACKLOG,
            reason=one_line(
                f"{words}; not looked through for {(now - seen.checked_at) / 60:.0f} min", REASON_MAX
            ),
        )
    if last_hour.renumbered.get(seen.place, 0):
        yield Condition(
            alert=AlertName.MAILBOX_RENUMBERED,
            subject=seen.name,
            since=now,
            cause=CAUSE_RENUMBERED,
            reason=one_line(seen.renumbering, REASON_MAX),
        )
    if mails := last_hour.quarantined.get(seen.place, 0):
        yield Condition(
            alert=AlertName.MAIL_QUARANTINED,
            subject=seen.name,
            since=now,
            cause=CAUSE_QUARANTINED,
            reason=one_line(f"{mails} within an hour; last: {seen.quarantine}", REASON_MAX),
        )
