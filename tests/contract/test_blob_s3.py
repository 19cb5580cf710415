"""A bucket keeps the BlobStore contract on a real S3 server, and is what a bucket should be."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme

from contract.blob_store_contract import BlobStoreContract, parts_of
from localstack.s3proxy import ObjectServer
from postlane.adapters.blob_directory import BlobDirectory
from postlane.adapters.blob_s3 import PART_BYTES, BlobS3
from postlane.config.blobs_section import S3Section
from postlane.core.blob_names import blob_place
from postlane.core.events.mail import BlobRef
from postlane.ports import BlobMissing, BlobStoreError

PREFIX = "post/lane/"
MEBIBYTE = 1024 * 1024
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of the server, as its directory shows it."""

    server: ObjectServer
    name: str
    folder: Path

    def section(self, **changes: Any) -> S3Section:
        return S3Section.model_validate(
            {
                "bucket": self.name,
                "prefix": PREFIX,
                "endpoint": self.server.endpoint,
                "access_key_id": self.server.access_key_id,
                "secret_access_key": self.server.secret_access_key,
                "timeout_seconds": 20,
                **changes,
            }
        )

    def file(self, ref: BlobRef) -> Path:
        return self.folder / PREFIX / blob_place(ref.sha256)

    def files(self) -> set[str]:
        """Everything that lies in it, parts of unfinished uploads included."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}

    def age(self, ref: BlobRef, days: float) -> None:
        then = time.time() - days * 86_400
        os.utime(self.file(ref), (then, then))


@pytest.fixture
def bucket(object_server: ObjectServer) -> Bucket:
    name = f"mail-{next(_numbers)}"
    return Bucket(object_server, name, object_server.make_bucket(name))


@pytest.fixture
def store(bucket: Bucket) -> BlobS3:
    return BlobS3(bucket.section())


class TestBlobS3(BlobStoreContract):
    pass


class TestBlobS3WithoutConditionalPut(BlobStoreContract):
    @pytest.fixture
    def store(self, bucket: Bucket) -> BlobS3:
        return BlobS3(bucket.section(conditional_put=False))


async def test_objects_lie_where_the_directory_would_have_files(store: BlobS3, bucket: Bucket) -> None:
    refs = [await store.put(b"mail"), await store.put_stream(parts_of(b"stre", b"am"))]
    assert bucket.files() == {f"{PREFIX}{blob_place(ref.sha256)}" for ref in refs}


async def test_a_store_moves_from_a_directory_to_a_bucket_by_a_copy(
    store: BlobS3, bucket: Bucket, tmp_path: Path
) -> None:
    directory = BlobDirectory(tmp_path / "blobs")
    refs = [await directory.put(b"one"), await directory.put_stream(parts_of(b"two"))]
    ignore = shutil.ignore_patterns(".incoming")
    shutil.copytree(tmp_path / "blobs", bucket.folder / PREFIX, ignore=ignore, dirs_exist_ok=True)
    assert [await store.get(ref) for ref in refs] == [b"one", b"two"]


@pytest.mark.parametrize("size_bytes", [4, PART_BYTES + 1])
async def test_a_young_blob_is_not_written_again(store: BlobS3, bucket: Bucket, size_bytes: int) -> None:
    ref = await store.put(b"m" * size_bytes)
    bucket.age(ref, days=0.5)
    before = bucket.file(ref).stat()
    await store.put(b"m" * size_bytes)
    await store.put_stream(parts_of(b"m" * size_bytes))
    assert bucket.file(ref).stat().st_mtime_ns == before.st_mtime_ns
    assert bucket.file(ref).stat().st_ino == before.st_ino


@pytest.mark.parametrize("size_bytes", [4, PART_BYTES + 1])
@pytest.mark.parametrize("streamed", [False, True])
async def test_putting_an_old_blob_again_makes_it_young(
    store: BlobS3, bucket: Bucket, size_bytes: int, streamed: bool
) -> None:
    content = b"m" * size_bytes
    ref = await store.put(content)
    bucket.age(ref, days=1.1)
    await (store.put_stream(parts_of(content)) if streamed else store.put(content))
    assert bucket.file(ref).stat().st_mtime > time.time() - 3600
    assert await store.get(ref) == content


@pytest.mark.parametrize("content", [b"whole mail", b"m" * (PART_BYTES + 1)])
async def test_an_object_of_another_size_under_the_name_is_written_over(
    store: BlobS3, bucket: Bucket, content: bytes
) -> None:
    ref = await store.put(content)
    bucket.file(ref).write_bytes(b"whole")
    await store.put(content)
    assert await store.get(ref) == content


async def test_a_damaged_blob_is_not_handed_out(store: BlobS3, bucket: Bucket) -> None:
    ref = await store.put(b"mail")
    bucket.file(ref).write_bytes(b"liam")
    with pytest.raises(BlobStoreError, match="damaged"):
        await store.get(ref)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 65])
async def test_only_hashes_are_names(store: BlobS3, name: str) -> None:
    with pytest.raises(BlobStoreError, match="no blob name"):
        await store.get(BlobRef(sha256=name, size_bytes=1))


async def test_a_long_stream_that_breaks_leaves_nothing_behind(store: BlobS3, bucket: Bucket) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        for _ in range(3 * PART_BYTES // MEBIBYTE):
            yield b"x" * MEBIBYTE
        raise FileNotFoundError("the source's own fault")

    with pytest.raises(FileNotFoundError, match="the source's own fault"):
        await store.put_stream(breaking())
    assert bucket.files() == set()


async def test_200_mb_stream_through_100_mb_of_memory(store: BlobS3) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(200):
            peak.append(process.memory_info().rss)
            yield number.to_bytes(4) * (MEBIBYTE // 4)

    process, peak = psutil.Process(), [0]
    await store.put(b"a session is open")
    before = process.memory_info().rss
    ref = await store.put_stream(parts())
    assert ref.size_bytes == 200 * MEBIBYTE
    assert max(peak) - before < 100_000_000


def test_a_store_serves_one_event_loop_after_the_other(store: BlobS3) -> None:
    ref = asyncio.run(store.put(b"mail"))
    assert asyncio.run(store.get(ref)) == b"mail"


async def test_preparing_proves_all_rights_and_leaves_nothing(store: BlobS3, bucket: Bucket) -> None:
    await store.prepare()
    assert bucket.files() == set()


async def test_a_private_authority_is_trusted_when_it_is_named(
    bucket: Bucket, objects_authority: trustme.CA, tmp_path: Path
) -> None:
    authority = tmp_path / "ca.pem"
    objects_authority.cert_pem.write_to_path(str(authority))
    trusting = BlobS3(bucket.section(endpoint=bucket.server.tls_endpoint, ca_file=authority))
    assert await trusting.get(await trusting.put(b"mail")) == b"mail"

    stranger = BlobS3(bucket.section(endpoint=bucket.server.tls_endpoint))
    with pytest.raises(BlobStoreError, match="signed by nobody whom we trust: set blobs"):
        await stranger.put(b"other mail")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bucket": "not-there"}, "no such bucket"),
        ({"access_key_id": "stranger"}, "does not know this access_key_id"),
        ({"secret_access_key": "wrong-secret"}, "the login is refused"),
        ({"endpoint": "http://127.0.0.1:9"}, "nobody listens there"),
        ({"endpoint": "http://store.invalid"}, "DNS does not know its name"),
    ],
)
async def test_what_is_wrong_is_said_without_secrets(
    bucket: Bucket, changes: dict[str, str], words: str
) -> None:
    store = BlobS3(bucket.section(timeout_seconds=5, **changes))
    for attempt in (
        store.put(b"mail"),
        store.put(b"m" * (PART_BYTES + 1)),
        store.put_stream(parts_of(b"mail")),
        store.get(BlobRef(sha256="0" * 64, size_bytes=1)),
        store.prepare(),
    ):
        with pytest.raises(BlobStoreError, match=words) as raised:
            await attempt
        text = str(raised.value)
        assert not [
            secret for secret in ("wrong-secret", bucket.server.secret_access_key, "AWS4") if secret in text
        ]
        assert len(text) < 400
        assert raised.value.__cause__ is None


async def test_tls_to_a_plain_port_is_told(bucket: Bucket) -> None:
    endpoint = bucket.server.endpoint.replace("http:", "https:")
    with pytest.raises(BlobStoreError, match="does not speak TLS there"):
        await BlobS3(bucket.section(endpoint=endpoint)).put(b"mail")


@pytest.mark.parametrize("content", [b"no certificate", None])
def test_an_authority_that_cannot_be_read_is_told(
    bucket: Bucket, tmp_path: Path, content: bytes | None
) -> None:
    authority = tmp_path / "ca.pem"
    if content is not None:
        authority.write_bytes(content)
    with pytest.raises(BlobStoreError, match=r"blobs\.s3\.ca_file.*ca\.pem"):
        BlobS3(bucket.section(ca_file=authority))


async def test_a_session_token_of_the_environment_is_not_mixed_with_configured_keys(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-another-login")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    store = BlobS3(bucket.section())
    assert await store.get(await store.put(b"mail")) == b"mail"


async def test_without_keys_the_environment_logs_in(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.server.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.server.secret_access_key)
    store = BlobS3(bucket.section(access_key_id=None, secret_access_key=None))
    assert await store.get(await store.put(b"mail")) == b"mail"


async def test_a_blob_that_went_is_missing_in_words_that_say_where(store: BlobS3, bucket: Bucket) -> None:
    ref = await store.put(b"mail")
    bucket.file(ref).unlink()
    with pytest.raises(BlobMissing, match=f"{ref.sha256} in s3://{bucket.name}/{PREFIX}"):
        await store.get(ref)


async def test_a_clock_of_tomorrow_finds_todays_blob_old(bucket: Bucket) -> None:
    ref = await BlobS3(bucket.section()).put(b"mail")
    bucket.age(ref, days=0.01)
    before = bucket.file(ref).stat().st_mtime
    await BlobS3(bucket.section(), lambda: datetime.now(UTC) + timedelta(days=1)).put(b"mail")
    assert bucket.file(ref).stat().st_mtime > before
