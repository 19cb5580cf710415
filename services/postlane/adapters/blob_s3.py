"""BlobStore in a bucket of an S3-compatible store: `<prefix>ab/abcd...` by SHA-256, written once.

S3 writes an object whole or not at all, and durably before it answers. A bucket's lifecycle rules delete by the object's age, so a blob
that is put again after a day is written again: S3 has no other way to make an object young that every store knows
(docs/decisions/0023-blobs-in-s3.md).
"""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from postlane.adapters.blob_s3_faults import NO_BUCKET, code_of, explain_fault
from postlane.config.blobs_section import S3Section
from postlane.core.blob_names import blob_place
from postlane.core.events.mail import BlobRef
from postlane.ports import BlobMissing, BlobStoreError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Credential

INCOMING = "incoming/"  # uploads whose hash is not known yet; left-overs of killed processes gather here and nowhere else
PART_BYTES = 8 * 1024 * 1024  # S3 takes 5 MiB or more, and at most 10,000 parts
PARTS_AT_ONCE = 3  # with what is being read, about 40 MiB per upload
BLOBS_AT_ONCE = 64  # requests of one call; each has its time limit
FRESH = timedelta(days=1)  # lifecycle rules count in whole days
RETRIES = 5

_Fault = (BaseError, OSError, ValueError)  # FileNotFoundError stands for "no such object"


class BlobS3:
    """See ports.BlobStore. Needs no closing; may be used from any event loop. Raises BlobStoreError for a `ca_file` that cannot be used."""

    def __init__(self, section: S3Section, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._section = section
        self._clock = clock
        self._store = _store(section)

    async def put(self, content: bytes) -> BlobRef:
        """See ports.BlobStore.put."""
        ref = BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        place = blob_place(ref.sha256)
        try:
            if len(content) > PART_BYTES:
                # Many requests, which each have their time limit; looking first is cheaper than sending in vain.
                if not await self._is_fresh(place, ref):
                    await self._upload(place, content)
            elif self._section.conditional_put:
                await self._put_if_absent(place, content, ref)
            else:
                await self._write(place, content)
        except _Fault as error:
            raise self._fault("cannot write", error) from None
        return ref

    async def put_all(self, contents: Sequence[bytes]) -> list[BlobRef]:
        """See ports.BlobStore.put_all."""
        at_once = asyncio.Semaphore(BLOBS_AT_ONCE)

        async def one(content: bytes) -> BlobRef:
            async with at_once:
                return await self.put(content)

        puts = [asyncio.create_task(one(content)) for content in contents]
        try:
            return list(await asyncio.gather(*puts))
        finally:
            for put in puts:
                put.cancel()
            await asyncio.gather(*puts, return_exceptions=True)

    async def put_stream(self, parts: AsyncIterator[bytes]) -> BlobRef:
        """See ports.BlobStore.put_stream. The object gets its name by a copy within the store once its hash is known."""
        hashed = _Hashed(parts)
        upload = f"{INCOMING}{uuid.uuid4()}"
        try:
            await self._upload(upload, aiter(hashed))
            ref = hashed.ref()
            place = blob_place(ref.sha256)
            if not await self._is_fresh(place, ref):
                await obstore.copy_async(self._store, upload, place)
            await obstore.delete_async(self._store, upload)
        except _Fault as error:
            if hashed.fault is not None:
                raise hashed.fault from None  # not the store's
            raise self._fault("cannot write", error) from None
        return ref

    async def get(self, ref: BlobRef) -> bytes:
        """See ports.BlobStore.get."""
        content = await self._read(ref)
        if hashlib.sha256(content).hexdigest() != ref.sha256:
            raise BlobStoreError(f"blob {ref.sha256} is damaged: its content has another hash")
        return content

    async def prepare(self) -> None:
        """Prove with an object of its own that blobs can be written, copied, read and deleted. Raises BlobStoreError."""
        probe, copy = (f"{INCOMING}probe-{uuid.uuid4()}{end}" for end in ("", "-copy"))
        doing = "cannot write"
        try:
            await self._write(probe, probe.encode())
            doing = "cannot copy"
            await obstore.copy_async(self._store, probe, copy)
            doing = "cannot read"
            await (await obstore.get_async(self._store, copy)).bytes_async()
            doing = "cannot delete"
            for path in (probe, copy):
                await obstore.delete_async(self._store, path)
        except _Fault as error:
            raise self._fault(doing, error) from None

    async def _put_if_absent(self, place: str, content: bytes, ref: BlobRef) -> None:
        try:
            await obstore.put_async(self._store, place, content, mode="create")
        except AlreadyExistsError:
            # There, or being written by somebody at this moment (409), of whom nobody knows yet whether he succeeds.
            if not await self._is_fresh(place, ref):
                await self._write(place, content)

    async def _write(self, place: str, content: bytes) -> None:
        await obstore.put_async(self._store, place, content, use_multipart=False)

    async def _upload(self, place: str, content: bytes | AsyncIterator[bytes]) -> None:
        await obstore.put_async(
            self._store,
            place,
            content,
            use_multipart=True,
            chunk_size=PART_BYTES,
            max_concurrency=PARTS_AT_ONCE,
        )

    async def _is_fresh(self, place: str, ref: BlobRef) -> bool:
        """Whether the blob is there already, whole and young.

        A refusal counts as "no": it has no text, and what is written next gets one. Where the login may not list, it means "not there".
        """
        try:
            found = await obstore.head_async(self._store, place)
        except (FileNotFoundError, PermissionDeniedError, UnauthenticatedError):
            return False
        return found["size"] == ref.size_bytes and self._clock() - found["last_modified"] < FRESH

    async def _read(self, ref: BlobRef) -> bytes:
        try:
            found = await obstore.get_async(self._store, blob_place(ref.sha256))
            return bytes(await found.bytes_async())
        except FileNotFoundError as error:
            if code_of(str(error)) != NO_BUCKET:
                raise BlobMissing(f"no blob {ref.sha256} in {self._section.place}") from None
            raise self._fault("cannot read", error) from None
        except _Fault as error:
            raise self._fault("cannot read", error) from None

    def _fault(self, doing: str, error: BaseException) -> BlobStoreError:
        words = str(error) if isinstance(error, ValueError) else explain_fault(str(error))
        return BlobStoreError(f"blob store: {doing} {self._section.place}: {words}")


class _Hashed:
    """Parts on their way, counted and hashed; `fault` is what their source raised."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self.fault: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._parts:
                self._digest.update(part)
                self._size_bytes += len(part)
                yield part
        except Exception as error:
            self.fault = error
            raise

    def ref(self) -> BlobRef:
        """The name of what has passed."""
        return BlobRef(sha256=self._digest.hexdigest(), size_bytes=self._size_bytes)


def _store(section: S3Section) -> S3Store:
    seconds = timedelta(seconds=section.timeout_seconds)
    # Named for S3 alone, because the general one gives way to $AWS_ENDPOINT_URL_S3.
    config: S3Config = {
        "region": section.region,
        "virtual_hosted_style_request": not section.path_style,
    }
    if (address := section.address()) is not None:
        config["aws_endpoint_url_s3"] = address
    client: ClientConfig = {"timeout": seconds, "connect_timeout": min(seconds, timedelta(seconds=5))}
    client["allow_http"] = address is not None and address.startswith("http://")
    if section.ca_file is not None:
        client["root_certificate"] = _certificates(section.ca_file)
    try:
        return S3Store(
            section.bucket,
            prefix=section.prefix or None,
            config=config,
            client_options=client,
            retry_config={"max_retries": RETRIES, "retry_timeout": seconds},
            credential_provider=_login(section),
        )
    except (BaseError, ValueError) as error:
        raise BlobStoreError(f"blob store: {section.place} cannot be used: {error}") from None


def _login(section: S3Section) -> "Callable[[], S3Credential] | None":
    """A function, because keys as settings would be joined with a session token of the environment."""
    if section.access_key_id is None or section.secret_access_key is None:
        return None
    login: S3Credential = {
        "access_key_id": section.access_key_id,
        "secret_access_key": section.secret_access_key.get_secret_value(),
        "expires_at": None,
    }
    return lambda: login


def _certificates(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise BlobStoreError(f"blobs.s3.ca_file: {file}: {error.strerror}") from None
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise BlobStoreError(f"blobs.s3.ca_file: {file} holds no PEM certificate")
    return content
