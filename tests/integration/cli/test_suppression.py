"""The suppression list by the command line."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from integration.cli.desk import Desk


@pytest.fixture
def kim() -> str:
    return f"kim-{uuid4().hex[:8]}@example.org"


def listed(desk: Desk, *addresses: str) -> list[dict[str, Any]]:
    """What `list` says; named addresses of which none is listed end it with code 4."""
    ran = desk.run("suppression", "list", *addresses, "--json")
    assert ran.code in {0, 4}, ran.err
    found: list[dict[str, Any]] = ran.json
    return found


def test_an_address_is_added_once_changed_and_removed(desk: Desk, kim: str) -> None:
    added = desk.run("suppression", "add", kim.upper(), "--cause", "complaint", "--reason", "he called")
    assert (added.code, added.out) == (0, f"{kim} is suppressed (complaint)\n"), added.err
    (entry,) = listed(desk, kim)
    assert (entry["address"], entry["cause"], entry["reason"], entry["until"]) == (
        kim,
        "complaint",
        "he called",
        None,
    )
    again = desk.run("suppression", "add", kim, "--cause", "complaint", "--reason", "he called")
    assert again.out.startswith(f"{kim} is on the list already (complaint) by ")
    assert listed(desk, kim) == [entry]
    changed = desk.run("suppression", "add", kim, "--expires", "30d")
    assert changed.out.startswith(f"{kim} is changed; it was on the list (complaint) by ")
    (entry,) = listed(desk, kim)
    assert entry["cause"] == "manual"
    assert entry["until"] > entry["since"]
    assert kim in desk.run("suppression", "list").out
    removed = desk.run("suppression", "remove", kim, "--reason", "he called again")
    assert (removed.code, removed.out.split(";")[0]) == (0, f"{kim} is taken off the list")
    assert listed(desk, kim) == []
    gone = desk.run("suppression", "remove", kim)
    assert (gone.code, gone.err) == (4, f"postlane: not on the list: {kim}\n")


def test_a_dry_run_does_nothing(desk: Desk, kim: str, tmp_path: Path) -> None:
    assert desk.run("suppression", "add", kim, "--dry-run").out == f"{kim} would be suppressed (manual)\n"
    path = tmp_path / "list.txt"
    path.write_text(kim)
    said = desk.run("suppression", "import", str(path), "--dry-run")
    assert said.out == "1 addresses would be suppressed, 0 were already, 0 lines left out\n"
    assert listed(desk, kim) == []
    assert desk.run("suppression", "add", kim).code == 0
    assert "would be taken off the list" in desk.run("suppression", "remove", kim, "--dry-run").out
    assert len(listed(desk, kim)) == 1


def test_a_file_is_imported_and_can_be_imported_again(desk: Desk, kim: str, tmp_path: Path) -> None:
    lee = f"lee-{kim}"
    path = tmp_path / "list.csv"
    path.write_text(f"address,cause,expires\n{kim},complaint,\n{lee},,30d\n")
    desk.run("suppression", "add", kim, "--reason", "for good")
    ran = desk.run("suppression", "import", str(path), "--json")
    assert ran.json == {"suppressed": 1, "unchanged": 1, "bad_lines": 0, "dry_run": False}
    by_address = {entry["address"]: entry for entry in listed(desk, kim, lee)}
    assert by_address[kim]["reason"] == "for good"
    assert (by_address[lee]["cause"], by_address[lee]["reason"]) == ("manual", "imported")
    path.write_text(f"{kim}\n{lee}\n")
    assert desk.run("suppression", "import", str(path), "--expires", "1d", "--json").json["unchanged"] == 2
    longer = desk.run("suppression", "import", str(path), "--json")
    assert longer.json == {"suppressed": 1, "unchanged": 1, "bad_lines": 0, "dry_run": False}


def test_with_a_bad_line_nothing_is_imported_unless_it_may_be_left_out(
    desk: Desk, kim: str, tmp_path: Path
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{kim}\nnobody\n")
    ran = desk.run("suppression", "import", str(path))
    assert ran.code == 1
    assert f"{path}, line 2: 'nobody' is not a mail address such as kim@example.org\n" in ran.err
    assert "nothing was imported: 1 of 2 lines are bad" in ran.err
    assert listed(desk, kim) == []
    skipped = desk.run("suppression", "import", str(path), "--skip-bad")
    assert (skipped.code, skipped.out) == (
        0,
        "1 addresses are suppressed, 0 were already, 1 lines left out\n",
    )


def test_a_list_comes_by_stdin(desk: Desk, kim: str) -> None:
    assert desk.run("suppression", "import", "-", answer=f"{kim}\n").code == 0
    assert len(listed(desk, kim)) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("add", "kim"), "'kim' is not a mail address"),
        (("add", "kim@x.example", "--cause", "Too Much"), "is not a cause"),
        (("add", "kim@x.example", "--expires", "2020-01-01"), "it lies in the past"),
        (("add", "kim@x.example", "--expires", "soon"), "is neither a span"),
        (("import", "/nowhere/list.csv"), "cannot be read: No such file or directory"),
    ],
)
def test_wrong_use_is_named(desk: Desk, arguments: tuple[str, ...], complaint: str) -> None:
    ran = desk.run("suppression", *arguments)
    assert ran.code == 2
    assert complaint in " ".join(ran.err.replace("│", " ").split())


def test_the_records_can_be_looked_at(desk: Desk, kim: str) -> None:
    desk.run("suppression", "add", kim, "--cause", "complaint", "--reason", "he called", "--expires", "1d")
    lines = [line for line in desk.run("tail", "control", "--last", "1000").out.splitlines() if kim in line]
    assert f"recipient:{kim}" in lines[0]
    assert f"SUPPRESS_RECIPIENT {kim} (complaint) until " in lines[0]
    assert lines[0].endswith(": he called")
    assert json.loads(desk.run("ticket", "list", "--json").out) == []


def test_an_empty_list_is_said_in_a_sentence(desk: Desk) -> None:
    for entry in listed(desk):
        assert desk.run("suppression", "remove", entry["address"]).code == 0
    ran = desk.run("suppression", "list")
    assert (ran.code, ran.out, ran.err) == (0, "", "no address is suppressed\n")
    assert listed(desk) == []
