"""The directory keeps the BlobStore contract, and is what a directory should be."""

import errno
import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest

from contract.blob_store_contract import BlobStoreContract, parts_of
from postlane.adapters.blob_directory import TEMPORARY, BlobDirectory
from postlane.core.events.mail import BlobRef
from postlane.ports import BlobStoreError


@pytest.fixture
def store(tmp_path: Path) -> BlobDirectory:
    return BlobDirectory(tmp_path / "blobs")


def place(tmp_path: Path, ref: BlobRef) -> Path:
    return tmp_path / "blobs" / ref.sha256[:2] / ref.sha256


class TestBlobDirectory(BlobStoreContract):
    pass


async def test_blobs_lie_in_256_directories_readable_by_owner_and_group(
    store: BlobDirectory, tmp_path: Path
) -> None:
    ref = await store.put(b"mail")
    assert place(tmp_path, ref).read_bytes() == b"mail"
    assert place(tmp_path, ref).stat().st_mode & 0o777 == 0o640
    assert list((tmp_path / "blobs" / TEMPORARY).iterdir()) == []


async def test_putting_again_refreshes_the_age(store: BlobDirectory, tmp_path: Path) -> None:
    ref = await store.put(b"mail")
    os.utime(place(tmp_path, ref), (1, 1))
    inode = place(tmp_path, ref).stat().st_ino
    await store.put(b"mail")
    assert place(tmp_path, ref).stat().st_mtime > time.time() - 3600
    assert place(tmp_path, ref).stat().st_ino == inode  # write-once: refreshed, not written again


async def test_a_blob_that_was_cut_short_is_written_again(store: BlobDirectory, tmp_path: Path) -> None:
    ref = await store.put(b"whole mail")
    place(tmp_path, ref).chmod(0o600)
    place(tmp_path, ref).write_bytes(b"whole")
    await store.put(b"whole mail")
    assert await store.get(ref) == b"whole mail"


async def test_a_damaged_blob_is_not_handed_out(store: BlobDirectory, tmp_path: Path) -> None:
    ref = await store.put(b"mail")
    place(tmp_path, ref).chmod(0o600)
    place(tmp_path, ref).write_bytes(b"liam")
    with pytest.raises(BlobStoreError, match="damaged"):
        await store.get(ref)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 65])
async def test_only_hashes_are_names(store: BlobDirectory, name: str) -> None:
    with pytest.raises(BlobStoreError, match="no blob name"):
        await store.get(BlobRef(sha256=name, size_bytes=1))


async def test_file_and_directories_are_synced_before_the_name_is_given_away(
    store: BlobDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    ref = await store.put(b"mail")
    path = place(tmp_path, ref)
    assert synced == [one.stat().st_ino for one in (path, path.parent, path.parents[1])]


async def test_what_is_put_together_is_synced_together(
    store: BlobDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    refs = await store.put_all([b"mail %d" % number for number in range(100)])
    paths = [place(tmp_path, ref) for ref in refs]
    directories = {above for path in paths for above in path.parents[:2]}
    assert synced[:100] == [path.stat().st_ino for path in paths]
    assert sorted(synced[100:]) == sorted(above.stat().st_ino for above in directories)


async def test_a_directory_that_was_made_beforehand_costs_no_sync_of_the_root(
    store: BlobDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.prepare()
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    path = place(tmp_path, await store.put(b"mail"))
    assert synced == [path.stat().st_ino, path.parent.stat().st_ino]


async def test_a_name_that_somebody_else_has_just_given_is_synced_all_the_same(
    store: BlobDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stored the blob may have been killed between the two."""
    path = place(tmp_path, await store.put(b"mail"))
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    await store.put(b"mail")
    assert synced == [path.parent.stat().st_ino]


async def test_a_directory_that_another_process_has_just_made_is_synced_all_the_same(
    store: BlobDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the blob would be gone with it after a power cut, should the other one never have come to syncing it."""
    ref = BlobRef(sha256=hashlib.sha256(b"mail").hexdigest(), size_bytes=4)
    place(tmp_path, ref).parent.mkdir(parents=True)
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    await store.put(b"mail")
    assert {one.stat().st_ino for one in place(tmp_path, ref).parents[:2]} <= set(synced)


async def test_a_directory_that_was_removed_meanwhile_is_made_again(
    store: BlobDirectory, tmp_path: Path
) -> None:
    path = place(tmp_path, await store.put(b"mail"))
    shutil.rmtree(path.parent)
    assert await store.get(await store.put(b"mail")) == b"mail"


async def test_one_that_fails_leaves_nothing_behind(
    store: BlobDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def fail_at_the_third(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", fail_at_the_third)
    with pytest.raises(BlobStoreError, match="No space left"):
        await store.put_all([b"mail %d" % number for number in range(5)])
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


async def test_a_store_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = BlobDirectory(tmp_path / "file")
    for attempt in (store.put(b"x"), store.put_stream(parts_of(b"x")), store.prepare()):
        with pytest.raises(BlobStoreError, match=str(tmp_path / "file")):
            await attempt


async def test_preparing_makes_every_directory(store: BlobDirectory, tmp_path: Path) -> None:
    await store.prepare()
    names = {path.name for path in (tmp_path / "blobs").iterdir()} - {TEMPORARY}
    assert names == {f"{number:02x}" for number in range(256)}


async def test_preparing_removes_left_overs_of_killed_processes_only(
    store: BlobDirectory, tmp_path: Path
) -> None:
    await store.prepare()
    old, young = (tmp_path / "blobs" / TEMPORARY / name for name in ("old", "young"))
    old.write_bytes(b"half")
    young.write_bytes(b"being written by another process")
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    await store.prepare()
    assert not old.exists()
    assert young.exists()
