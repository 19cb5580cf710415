"""Where the jars are kept, and what the lock file promises."""

from pathlib import Path

import pytest

from localstack import artifacts


def test_every_jar_is_named_with_its_hash_and_no_address() -> None:
    for bundle in artifacts.read_lock().values():
        assert bundle.jars[0].coordinate == bundle.roots[0]
        assert {len(jar.sha256) for jar in bundle.jars} == {64}
        assert all(jar.coordinate.count(":") == 2 for jar in bundle.jars)
    assert "//" not in artifacts.LOCK_FILE.read_text("utf-8")


def test_kafka_is_new_enough_for_the_runtime() -> None:
    major, minor, *_ = map(int, artifacts.read_lock()["kafka"].version.split("."))
    assert (major, minor) >= (4, 2)  # older ones do not run on Java 25
    assert artifacts.java().is_file()


def test_a_home_that_cannot_be_written_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(artifacts.CACHE_VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path in artifacts.cache_folder().parents

    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert (
        artifacts.cache_folder() == artifacts.LOCK_FILE.resolve().parents[2] / ".local/cache/localstack-jars"
    )


def test_a_cache_that_was_asked_for_is_used_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(artifacts.CACHE_VARIABLE, str(tmp_path / "cache"))
    assert artifacts.cache_folder() == tmp_path / "cache" / "localstack-jars"
    (tmp_path / "file").touch()
    monkeypatch.setenv(artifacts.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(artifacts.ArtifactError, match=artifacts.CACHE_VARIABLE):
        artifacts.cache_folder()
