"""What `postlane dlq` says of many dead mails at once."""

from postlane.core.dlq import DeadMail, LeftOut, Place, Plan, Unreadable
from postlane.core.events.status import Origin
from postlane.core.events.trail import Dead
from postlane.ops.dlq_output import by_cause, left_out_lines


def dead_mail(offset: int, cause: str) -> DeadMail:
    obituary = Dead(
        origin=Origin("topic-1", offset),
        origin_topic="mail.outbound",
        partition=0,
        attempt=1,
        first_seen_ms=1000,
        died_ms=5000,
        remaining=None,
        cause=cause,
        reason="r",
        reply=None,
    )
    return DeadMail(place=Place(0, offset), key=b"4711", size_bytes=1, headers=(), obituary=obituary)


def test_causes_are_counted_most_frequent_first() -> None:
    mails = [dead_mail(0, "quota"), dead_mail(1, "spam"), dead_mail(2, "spam")]
    unreadable = DeadMail(place=Place(1, 0), key=None, size_bytes=1, headers=(), obituary=Unreadable("r"))
    assert by_cause([*mails, unreadable]) == "2 spam, 1 quota, 1 unreadable"


def test_thousands_that_are_left_out_are_a_line_per_reason() -> None:
    resolved = tuple((dead_mail(offset, "spam"), LeftOut.CLOSED) for offset in range(4000))
    keyless = ((dead_mail(9000, "spam"), LeftOut.KEYLESS),)
    assert [*left_out_lines(Plan(left_out=(*resolved, *keyless)))] == [
        "4000 left out (0:0, 0:1, 0:2, 0:3, 0:4 and 3995 more): already resolved",
        f"1 left out (0:9000): {LeftOut.KEYLESS}",
    ]
