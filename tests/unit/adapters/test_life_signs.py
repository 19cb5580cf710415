"""Which processes of this machine have died: with real processes, killed, stopped and ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postlane.adapters.life_signs import LifeSigns, NoLifeSigns

LIVE = """
import sys
from pathlib import Path
from postlane.adapters.life_signs import LifeSigns
signs = LifeSigns(sys.argv[1], Path(sys.argv[2]))
signs.begin(sys.argv[3])
print("alive", flush=True)
sys.stdin.readline()
signs.end()
"""
WAIT_SECONDS = 30.0


class Other:
    """Another process that gives signs of life."""

    def __init__(self, directory: Path, name: str, kind: str = "sender") -> None:
        command = [sys.executable, "-c", LIVE, kind, str(directory), name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "alive\n"

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        """SIGSTOP, and wait until it stands still."""
        self.signal(signal.SIGSTOP)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

    def end(self) -> None:
        """In good order."""
        self.process.communicate("\n", timeout=WAIT_SECONDS)

    def clear_up(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def others() -> Iterator[list[Other]]:
    started: list[Other] = []
    yield started
    for other in started:
        other.clear_up()


def until_dead(signs: LifeSigns, names: list[str]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while sorted(signs.dead()) != sorted(names):
        assert time.monotonic() < deadline, signs.dead()
        time.sleep(0.01)


def test_who_is_killed_is_found_by_all_until_forgotten(tmp_path: Path, others: list[Other]) -> None:
    mine, neighbour = LifeSigns("sender", tmp_path), LifeSigns("sender", tmp_path)
    mine.begin("me")
    neighbour.begin("neighbour")
    others += [Other(tmp_path, "one"), Other(tmp_path, "two")]
    assert mine.dead() == []
    others[0].signal(signal.SIGKILL)
    until_dead(mine, ["one"])
    until_dead(neighbour, ["one"])
    assert mine.dead() == ["one"], "asking changes nothing"
    mine.forget("one")
    mine.forget("one")
    assert mine.dead() == neighbour.dead() == []


def test_who_is_stopped_lives(tmp_path: Path, others: list[Other]) -> None:
    mine = LifeSigns("sender", tmp_path)
    mine.begin("me")
    others += [Other(tmp_path, "stopped"), Other(tmp_path, "killed")]
    others[0].stop()
    others[1].signal(signal.SIGKILL)
    until_dead(mine, ["killed"])
    assert mine.dead() == ["killed"]
    others[0].signal(signal.SIGKILL)
    until_dead(mine, ["killed", "stopped"])


def test_an_orderly_end_leaves_nothing(tmp_path: Path, others: list[Other]) -> None:
    mine = LifeSigns("sender", tmp_path)
    mine.begin("me")
    others.append(Other(tmp_path, "other"))
    others[0].end()
    assert mine.dead() == []
    mine.end()
    assert list(tmp_path.iterdir()) == []
    mine.end()


def test_other_kinds_are_not_ours(tmp_path: Path, others: list[Other]) -> None:
    mine = LifeSigns("sender-1", tmp_path)
    mine.begin("me")
    others += [Other(tmp_path, "other", kind="sender-2"), Other(tmp_path, "ours", kind="sender-1")]
    for other in others:
        other.signal(signal.SIGKILL)
    until_dead(mine, ["ours"])
    assert mine.dead() == ["ours"]


def test_who_only_looks_sees_the_living_as_living(tmp_path: Path) -> None:
    mine = LifeSigns("sender", tmp_path)
    mine.begin("me")
    onlooker = LifeSigns("sender", tmp_path)
    assert onlooker.dead() == []
    assert LifeSigns("sender", tmp_path / "none").dead() == []


def test_the_directory_is_our_own_and_private(tmp_path: Path) -> None:
    directory = tmp_path / "signs"
    LifeSigns("sender", directory).begin("me")
    assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("what", ["file", "link"])
def test_a_place_that_somebody_else_prepared_is_not_used(tmp_path: Path, what: str) -> None:
    place, elsewhere = tmp_path / "signs", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if what == "file":
        place.touch()
    else:
        place.symlink_to(elsewhere)
    with pytest.raises(NoLifeSigns, match="signs"):
        LifeSigns("sender", place).begin("me")
    assert list(elsewhere.iterdir()) == []


def test_a_name_that_cannot_be_a_files_leaves_nothing_behind(tmp_path: Path) -> None:
    signs = LifeSigns("sender", tmp_path)
    with pytest.raises(NoLifeSigns):
        signs.begin("a/b")
    assert list(tmp_path.iterdir()) == []
    assert signs.dead() == []
