"""A refresh token that the provider replaces must outlive the process, and must not be used twice."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from postlane.adapters.refresh_token_file import (
    RefreshTokenFile,
    RefreshTokenFileBusy,
    RefreshTokenFileError,
)

CONFIGURED = "configured-refresh-token"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refresh"


def test_without_a_file_the_configured_token_is_used(path: Path) -> None:
    assert RefreshTokenFile(path, CONFIGURED).read() == CONFIGURED


def test_a_successor_is_kept_for_its_owner_alone(path: Path) -> None:
    RefreshTokenFile(path, CONFIGURED).write("second")
    assert RefreshTokenFile(path, CONFIGURED).read() == "second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    RefreshTokenFile(path, CONFIGURED).write("third")
    assert RefreshTokenFile(path, CONFIGURED).read() == "third"
    assert [each.name for each in path.parent.iterdir()] == ["refresh"]
    assert CONFIGURED not in path.read_text()


def test_a_token_configured_anew_wins_over_the_successor_of_the_old_one(path: Path) -> None:
    RefreshTokenFile(path, CONFIGURED).write("second")
    assert RefreshTokenFile(path, "given anew").read() == "given anew"


@pytest.mark.parametrize(
    "content", ["", "half a {", "[]", "{}", '{"follows_sha256": "x", "refresh_token": 1}', "\x00\x00"]
)
def test_a_file_that_is_not_ours_is_named_and_left_alone(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(RefreshTokenFileError, match="remove it to start from refresh_token"):
        RefreshTokenFile(path, CONFIGURED).prepare()
    assert path.read_text() == content


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = RefreshTokenFile(tmp_path / "nowhere" / "refresh", CONFIGURED)
    with pytest.raises(RefreshTokenFileError, match=r"nowhere/refresh: .*check refresh_token_file"):
        file.prepare()
    with pytest.raises(RefreshTokenFileError, match="cannot be written"):
        file.write("second")


def test_a_write_that_fails_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RefreshTokenFile(path, CONFIGURED)
    file.write("second")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RefreshTokenFileError, match="No space left on device") as caught:
        file.write("third-secret")
    assert "third-secret" not in str(caught.value)
    assert file.read() == "second"
    assert [each.name for each in path.parent.iterdir()] == ["refresh"]


def test_preparing_changes_nothing(path: Path) -> None:
    file = RefreshTokenFile(path, CONFIGURED)
    file.write("second")
    before = path.read_bytes()
    file.prepare()
    assert path.read_bytes() == before
    assert json.loads(before).keys() == {"follows_sha256", "refresh_token"}


def test_another_process_waits_for_the_lock(path: Path) -> None:
    holder = (
        "import sys; from pathlib import Path; from postlane.adapters.refresh_token_file import RefreshTokenFile\n"
        f"with RefreshTokenFile(Path({str(path)!r}), 'x').locked(0):\n print('held', flush=True); sys.stdin.read()\n"
    )
    file = RefreshTokenFile(path, CONFIGURED)
    with subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(RefreshTokenFileBusy), file.locked(0.1):
            pytest.fail("two hold the lock")
        file.prepare()  # a starting process is not stopped by one that renews
        process.stdin.close()
        with file.locked(10.0):
            assert file.read() == CONFIGURED
