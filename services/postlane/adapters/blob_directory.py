"""BlobStore in a directory: `ab/cd/abcd...` by SHA-256, written once, durable before its name is given away.

A blob is written beside its place, synced, renamed, and its directory synced; after a power cut it is there whole or not at all. Several processes
may share the directory, also over a network file system that renames atomically.
"""

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from postlane.core.events.mail import BlobRef
from postlane.ports import BlobMissing, BlobStoreError

TEMPORARY = ".incoming"  # left-overs of killed processes gather here and nowhere else
TEMPORARY_AGE_SECONDS_MAX = 86_400.0  # no upload takes a day; older ones are left-overs


class BlobDirectory:
    """See ports.BlobStore. Files are readable by owner and group, like the mail they hold."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, content: bytes) -> BlobRef:
        """See ports.BlobStore.put."""
        return await asyncio.to_thread(self._put, content)

    async def put_stream(self, parts: AsyncIterator[bytes]) -> BlobRef:
        """See ports.BlobStore.put_stream."""
        digest = hashlib.sha256()
        size_bytes = 0
        upload = await asyncio.to_thread(self._open)
        try:
            async for part in parts:
                digest.update(part)
                size_bytes += len(part)
                await asyncio.to_thread(upload.write, part)
            ref = BlobRef(sha256=digest.hexdigest(), size_bytes=size_bytes)
            await asyncio.to_thread(upload.finish, self._path(ref))
        finally:
            upload.discard()
        return ref

    async def get(self, ref: BlobRef) -> bytes:
        """See ports.BlobStore.get."""
        content = await asyncio.to_thread(self._read, ref)
        if hashlib.sha256(content).hexdigest() != ref.sha256:
            raise BlobStoreError(f"blob {ref.sha256} is damaged: its content has another hash")
        return content

    async def prepare(self) -> None:
        """Create what is missing, remove left-overs of killed processes, and prove that blobs can be written. Raises BlobStoreError."""
        await asyncio.to_thread(self._prepare)

    def _path(self, ref: BlobRef) -> Path:
        name = ref.sha256
        if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            raise BlobStoreError(f"{name[:80]!r} is no blob name: 64 lower-case hex digits are")
        return self._root / name[:2] / name[2:4] / name

    def _put(self, content: bytes) -> BlobRef:
        ref = BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        path = self._path(ref)
        if self._refresh(path, ref):
            return ref
        upload = self._open()
        try:
            upload.write(content)
            upload.finish(path)
        finally:
            upload.discard()
        return ref

    def _refresh(self, path: Path, ref: BlobRef) -> bool:
        """Whether the blob is there already; if so it counts as new from now on."""
        try:
            if path.stat().st_size != ref.size_bytes:
                return False  # cut short by a file system that lied about fsync; written again below
            os.utime(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _store_error(path, error) from None
        return True

    def _open(self) -> "_Upload":
        directory = self._root / TEMPORARY
        try:
            directory.mkdir(parents=True, exist_ok=True)
            return _Upload(directory)
        except OSError as error:
            raise _store_error(directory, error) from None

    def _read(self, ref: BlobRef) -> bytes:
        path = self._path(ref)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise BlobMissing(f"no blob {ref.sha256} in {self._root}") from None
        except OSError as error:
            raise _store_error(path, error) from None

    def _prepare(self) -> None:
        upload = self._open()
        upload.discard()
        try:
            newest = max((entry.stat().st_mtime for entry in (self._root / TEMPORARY).iterdir()), default=0.0)
            for entry in (self._root / TEMPORARY).iterdir():
                if entry.stat().st_mtime < newest - TEMPORARY_AGE_SECONDS_MAX:
                    entry.unlink(missing_ok=True)
        except OSError as error:
            raise _store_error(self._root / TEMPORARY, error) from None


class _Upload:
    """A temporary file on its way to its place."""

    def __init__(self, directory: Path) -> None:
        self._descriptor, name = tempfile.mkstemp(dir=directory)
        self._path: Path | None = Path(name)

    def write(self, content: bytes) -> None:
        """Append. Raises BlobStoreError."""
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise _store_error(self._path, error) from None

    def finish(self, place: Path) -> None:
        """Make it durable under its name. Raises BlobStoreError."""
        assert self._path is not None
        try:
            os.fchmod(self._descriptor, 0o640)
            os.fsync(self._descriptor)
            _make_directories(place.parent)
            self._path.replace(place)
            self._path = None
            _sync_directory(place.parent)
        except OSError as error:
            raise _store_error(place, error) from None

    def discard(self) -> None:
        """Close, and remove what was not finished."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _make_directories(directory: Path) -> None:
    """Create the two fan-out levels durably; a directory entry that is not synced may be gone after a power cut."""
    if directory.is_dir():
        return
    for level in (directory.parent, directory):
        if not level.is_dir():
            level.mkdir(exist_ok=True)
            _sync_directory(level.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _store_error(path: Path | None, error: OSError) -> BlobStoreError:
    return BlobStoreError(f"blob store: {path}: {error.strerror or type(error).__name__}")
