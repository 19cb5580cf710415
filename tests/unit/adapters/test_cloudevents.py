"""CloudEvents headers name each event so that tools that know nothing of Postlane can follow it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from postlane.adapters.avro_codec import Event
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.core.events.mail import Address, BlobRef
from postlane.core.events.received import MailboxCursor, MailReceived, ParseStatus, Verdicts
from postlane.core.events.relay_lease import LeaseRequest, lease_of
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState, MailStatus

WHEN = datetime(2026, 1, 2, 5, 4, 5, 678900, tzinfo=timezone(timedelta(hours=2)))

REQUEST = MailRequested(
    event_id="e1",
    ticket_id="Zürich-7",
    requested_at=WHEN,
    from_address=Address(address="a@example.com"),
    to=(),
    subject="",
)
STATUS = MailStatus(
    status_id="s1",
    occurred_at=WHEN,
    state=MailState.SENT,
    final=True,
    topic_id="x",
    partition=0,
    offset=0,
    cause="c",
    reason="r",
    attempt=1,
    instance="i",
)
RECEIVED = MailReceived(
    event_id="r1",
    mailbox="support",
    folder="INBOX",
    uid_validity=1,
    uid=2,
    received_at=datetime(2020, 1, 1, tzinfo=UTC),
    produced_at=WHEN,
    raw=BlobRef(sha256="0" * 64, size_bytes=1),
    parse_status=ParseStatus.OK,
    defects=(),
    thread_key="thread:1",
    verdicts=Verdicts(may_open=True, may_reopen=True, may_auto_answer=True),
)
CURSOR = MailboxCursor(
    mailbox="support", folder="INBOX", uid_validity=1, uid=5, settled_uid=4, updated_at=WHEN, instance="i"
)


@pytest.mark.parametrize(
    ("event", "kind", "identity", "subject"),
    [
        (REQUEST, "postlane.MailRequested", "e1", "Zürich-7"),
        (STATUS, "postlane.MailStatus", "s1", None),
        (RECEIVED, "postlane.MailReceived", "r1", None),
        (CURSOR, "postlane.MailboxCursor", "support/INBOX/1/5/4", "support/INBOX"),
    ],
)
def test_headers_name_the_event(event: Event, kind: str, identity: str, subject: str | None) -> None:
    headers = {name: value.decode() for name, value in cloud_event_headers(event, "/postlane/test")}
    expected = {
        "ce_specversion": "1.0",
        "ce_id": identity,
        "ce_source": "/postlane/test",
        "ce_type": kind,
        "ce_time": "2026-01-02T03:04:05.678Z",
        "content-type": "application/avro",
    }
    assert headers == expected | ({} if subject is None else {"ce_subject": subject})


def test_a_record_without_a_time_has_no_ce_time() -> None:
    request = LeaseRequest(number=3, seen=0, wants=(), using=(), needs=(), returned=())
    headers = dict(cloud_event_headers(lease_of("relay", "sender1", request), "/postlane/outbound"))
    assert headers["ce_id"] == b"relay/sender1/request/3"
    assert headers["ce_subject"] == b"relay"
    assert "ce_time" not in headers
