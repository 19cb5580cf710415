"""What commands print: times alike everywhere, lines never broken in a pipe."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from postlane.core.events.received import MailboxCursor
from postlane.ops.output import iso, iso_ms, plain, print_json, print_line, print_table, say, shortened

AT = datetime(2026, 11, 22, 7, 10, 0, 123456, tzinfo=timezone(timedelta(hours=2)))


def test_json_has_one_format_of_time(capsys: pytest.CaptureFixture[str]) -> None:
    cursor = MailboxCursor(
        mailbox="support",
        folder="INBOX",
        uid_validity=1,
        uid=2,
        settled_uid=2,
        updated_at=AT,
        instance="host-1",
    )
    print_json({"at": AT, "event": plain(cursor), "path": Path("a")})
    shown = json.loads(capsys.readouterr().out)
    assert shown["at"] == shown["event"]["updated_at"] == iso(AT) == "2026-11-22T05:10:00.123Z"
    assert shown["path"] == "a"
    assert iso_ms(round(AT.timestamp() * 1000)) == iso(AT)
    assert iso(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"
    assert iso(None) is None


def test_a_table_in_a_pipe_has_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    long = "/a/very/long/path" * 30
    print_table(("PLACE", "WORDS"), [(long, shortened("word " * 200, 300)), ("[b]", "markup stays")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert long in lines[1]
    assert "[b]" in lines[2]


def test_what_strangers_wrote_drives_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    bad = "T-1\x1b[2J\x9b2J\r\u202eé"
    written = r"T-1\x1b[2J\x9b2J\x0d\u202eé"
    say(bad)
    assert capsys.readouterr().err == f"{written}\n"
    print_line(bad)
    print_table(("TICKET", "WORDS"), [(bad, "x")])
    line, head, row = capsys.readouterr().out.splitlines()
    assert line == written
    assert row == f"{written}  x"
    assert head.index("WORDS") == row.index("  x") + 2
    print_json({"ticket_id": bad})
    shown = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)
    assert json.loads(shown) == {"ticket_id": bad}
