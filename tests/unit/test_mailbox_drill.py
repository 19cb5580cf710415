"""What the drills of docs/operations.md do to a site, where it depends on how Postlane keeps things."""

from pathlib import Path

import pytest

import mailbox_drill
from postlane.adapters.blob_directory import BlobDirectory
from postlane.ports import BlobStoreError


async def test_a_spoiled_mail_cannot_be_stored_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".local").mkdir()
    store = BlobDirectory(tmp_path / "blobs")
    mailbox_drill.block(tmp_path / "blobs", b"a mail")
    await store.put(b"another mail")
    with pytest.raises(BlobStoreError):
        await store.put(b"a mail")
    mailbox_drill.mend()
    await store.put(b"a mail")
