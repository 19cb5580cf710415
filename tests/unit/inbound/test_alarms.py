"""Every alert about mailboxes, once, from what the pollers see to a line in the log and a metric."""

from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from postlane.adapters.alarm_bell import AlarmBell
from postlane.adapters.metrics import Metrics
from postlane.adapters.notifier import Notifier
from postlane.adapters.token_source import Standing
from postlane.config.notify_section import NotifySection
from postlane.core.alerts.catalogue import AlertName
from postlane.core.alerts.mailbox_conditions import FolderSeen, GrantSeen
from postlane.core.metrics import INBOUND_METRICS
from postlane.inbound.alarms import Alarms
from postlane.inbound.grants import Grants
from unit.outbound.test_alarms import TROUBLES as OUTBOUND

T0 = 1_800_000_000.0
Seen = tuple[list[FolderSeen], list[GrantSeen]]


def folder(name: str = "INBOX", checked_at: float = T0, **changes: object) -> FolderSeen:
    return FolderSeen(**{"mailbox": "support", "folder": name, "checked_at": checked_at} | changes)  # type: ignore[arg-type]


WELL: Seen = ([folder(), folder("Billing")], [])
TROUBLES: Mapping[AlertName, tuple[str, str, Seen]] = {
    AlertName.MAILBOX_BEHIND: (
        "support/INBOX",
        "backlog",
        ([folder(checked_at=T0 - 601, lag=5), folder("Billing")], []),
    ),
    AlertName.MAILBOX_LOGIN_BROKEN: (
        "support",
        "auth",
        (
            [
                folder(error_kind="auth", error="LOGIN refused", error_since=T0),
                folder("Billing", error_kind="auth", error="LOGIN refused", error_since=T0),
            ],
            [],
        ),
    ),
    AlertName.MAILBOX_GRANT_ENDS: (
        "support",
        "grant_ends",
        ([folder()], [GrantSeen(mailbox="support", days_left=3.0)]),
    ),
    AlertName.MAILBOX_RENUMBERED: (
        "support/INBOX",
        "uid_validity",
        ([folder(renumbered=1, renumbering="UIDVALIDITY is 8, was 7")], []),
    ),
    AlertName.MAIL_QUARANTINED: (
        "support/INBOX",
        "quarantined",
        ([folder(quarantined=2, quarantine="UID 4: fetch: no")], []),
    ),
}


class Desk:
    """Alarms whose clock tests move."""

    def __init__(self) -> None:
        self.now = T0
        self.metrics = Metrics(INBOUND_METRICS)
        section = NotifySection()
        bell = AlarmBell(section.pace(), Notifier((), self.metrics), self.metrics, "host-1")
        self.alarms = Alarms(bell, section.mailbox_unchecked_seconds, clock=lambda: self.now)

    def look(self, seen: Seen, after: float = 0.0) -> None:
        self.now += after
        self.alarms.observe(*seen)

    def raised(self, alert: AlertName, subject: str) -> float | None:
        labels = {"alert": alert.value, "subject": subject}
        return self.metrics.registry.get_sample_value("postlane_alert_raised", labels)


def test_every_alert_is_tried_here_or_with_the_outbound_service() -> None:
    assert {*TROUBLES, *OUTBOUND} == {*AlertName}


@pytest.mark.parametrize("alert", TROUBLES)
def test_each_alert_is_told_once(alert: AlertName) -> None:
    subject, cause, trouble = TROUBLES[alert]
    desk = Desk()
    desk.look(WELL)
    with capture_logs() as logs:
        for _ in range(20):
            desk.look(trouble, after=5)
    (line,) = [line for line in logs if line["event"] == "alert_raised"]
    assert (line["alert"], line["subject"], line["cause"]) == (alert, subject, cause)
    assert desk.raised(alert, subject) == 1


def test_a_dead_grant_is_a_broken_login() -> None:
    desk = Desk()
    desk.look(([folder()], [GrantSeen(mailbox="support", trouble="invalid_grant")]))
    assert desk.raised(AlertName.MAILBOX_LOGIN_BROKEN, "support") == 1


def test_a_mailbox_that_moves_away_takes_its_alert_along() -> None:
    desk = Desk()
    _, _, trouble = TROUBLES[AlertName.MAIL_QUARANTINED]
    desk.look(WELL)
    desk.look(trouble, after=5)
    with capture_logs() as logs:
        desk.look(([], []), after=5)
    assert desk.raised(AlertName.MAIL_QUARANTINED, "support/INBOX") is None
    (line,) = [line for line in logs if line["event"] == "alert_cleared"]
    assert line["summary"].startswith("Mailbox support/INBOX is no longer polled by this process")
    desk.look(([folder()], []), after=5)  # back again, with counts that begin anew
    assert desk.raised(AlertName.MAIL_QUARANTINED, "support/INBOX") is None


@pytest.mark.parametrize("alert", TROUBLES)
def test_no_mailbox_that_moved_away_is_said_to_be_well(alert: AlertName) -> None:
    """The process that polls it now may have raised the same alert long before this one had seen it quiet for a while."""
    subject, _, trouble = TROUBLES[alert]
    desk = Desk()
    desk.look(WELL)
    desk.look(trouble, after=5)
    with capture_logs() as logs:
        desk.look(([folder(mailbox="sales")], []), after=1)
        desk.look(([folder(mailbox="sales")], []), after=3600)
    (line,) = [line for line in logs if line["event"] == "alert_cleared"]
    assert line["summary"].startswith(f"Mailbox {subject} is no longer polled by this process; ")


def test_how_grants_stand_is_seen_and_measured() -> None:
    metrics = Metrics(INBOUND_METRICS)
    grants = Grants(metrics)
    broken = Standing(
        ok=False, broken=True, words="invalid_grant", ends_at=None, days_left=None, warns=False, unkept=False
    )
    ending = Standing(ok=True, broken=False, words="", ends_at=T0, days_left=3.0, warns=True, unkept=False)
    grants.note("support", broken)
    grants.note("sales", ending)
    assert grants.seen() == [
        GrantSeen(mailbox="support", trouble="invalid_grant"),
        GrantSeen(mailbox="sales", days_left=3.0),
    ]
    ok = [
        metrics.registry.get_sample_value("postlane_inbound_grant_ok", {"mailbox": name})
        for name in ("support", "sales")
    ]
    ends = metrics.registry.get_sample_value(
        "postlane_inbound_grant_end_timestamp_seconds", {"mailbox": "sales"}
    )
    assert (ok, ends) == ([0.0, 1.0], T0)
