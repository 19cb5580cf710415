"""BlobStore in a directory: `ab/abcd...` by SHA-256, written once, durable before its name is given away.

A blob is written beside its place, synced, renamed, and its directories synced; after a power cut it is there whole or not at all. What is put together
is synced together: all files are handed to the disk before the first is waited for, and no directory is synced twice. Several processes may share the
directory, also over a network file system that renames atomically.
"""

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from postlane.adapters.blob_tree import BlobTree
from postlane.core.blob_names import blob_place
from postlane.core.events.mail import BlobRef
from postlane.ports import BlobMissing, BlobStoreError

TEMPORARY = ".incoming"  # left-overs of killed processes gather here and nowhere else
FILES_AT_ONCE = 64  # that are open for one call; systems allow a process 1,024 or more
TEMPORARY_AGE_SECONDS_MAX = 86_400.0  # no upload takes a day; older ones are left-overs


class BlobDirectory:
    """See ports.BlobStore. Files are readable by owner and group, like the mail they hold."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = os.fspath(root / TEMPORARY)
        self._tree = BlobTree(root)

    async def put(self, content: bytes) -> BlobRef:
        """See ports.BlobStore.put."""
        (ref,) = await self.put_all([content])
        return ref

    async def put_all(self, contents: Sequence[bytes]) -> list[BlobRef]:
        """See ports.BlobStore.put_all."""
        return await asyncio.to_thread(self._put_all, contents) if contents else []

    async def put_stream(self, parts: AsyncIterator[bytes]) -> BlobRef:
        """See ports.BlobStore.put_stream."""
        digest = hashlib.sha256()
        size_bytes = 0
        with await asyncio.to_thread(self._open) as upload:
            async for part in parts:
                digest.update(part)
                size_bytes += len(part)
                await asyncio.to_thread(upload.write, part)
            ref = BlobRef(sha256=digest.hexdigest(), size_bytes=size_bytes)
            await asyncio.to_thread(self._finish, upload, ref)
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

    def _put_all(self, contents: Sequence[bytes]) -> list[BlobRef]:
        refs = [BlobRef(sha256=hashlib.sha256(one).hexdigest(), size_bytes=len(one)) for one in contents]
        for start in range(0, len(refs), FILES_AT_ONCE):
            part = slice(start, start + FILES_AT_ONCE)
            batch = dict(zip(refs[part], contents[part], strict=True))
            self._write({ref: content for ref, content in batch.items() if not self._refresh(ref)})
        # Also of those that were there: whoever stored them may have been killed before this step.
        self._sync_tree(refs)
        return refs

    def _write(self, batch: Mapping[BlobRef, bytes]) -> None:
        """Make their bytes durable together; none is under its name before they are. The names have yet to be synced."""
        with contextlib.ExitStack() as stack:
            uploads = []
            for content in batch.values():
                upload = stack.enter_context(self._open())
                upload.write(content)
                upload.hand_to_disk()
                uploads.append(upload)
            for upload in uploads:
                upload.sync()
            for upload, ref in zip(uploads, batch, strict=True):
                upload.move_in(_place(ref), self._tree)

    def _finish(self, upload: "_Upload", ref: BlobRef) -> None:
        upload.sync()
        upload.move_in(_place(ref), self._tree)
        self._sync_tree([ref])

    def _sync_tree(self, refs: Iterable[BlobRef]) -> None:
        try:
            self._tree.sync(_place(ref) for ref in refs)
        except OSError as error:
            raise _store_error(self._root, error) from None

    def _refresh(self, ref: BlobRef) -> bool:
        """Whether the blob is there already; if so it counts as new from now on."""
        path = f"{self._root}/{_place(ref)}"  # text, as in BlobTree
        try:
            if os.stat(path).st_size != ref.size_bytes:  # noqa: PTH116
                return False  # cut short by a file system that lied about fsync; written again below
            os.utime(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _store_error(path, error) from None
        return True

    def _open(self) -> "_Upload":
        try:
            try:
                return _Upload(self._incoming)
            except FileNotFoundError:
                Path(self._incoming).mkdir(parents=True, exist_ok=True)
                return _Upload(self._incoming)
        except OSError as error:
            raise _store_error(self._incoming, error) from None

    def _read(self, ref: BlobRef) -> bytes:
        path = self._root / _place(ref)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise BlobMissing(f"no blob {ref.sha256} in {self._root}") from None
        except OSError as error:
            raise _store_error(path, error) from None

    def _prepare(self) -> None:
        with self._open():
            pass
        try:
            self._tree.make_all()
            newest = max((entry.stat().st_mtime for entry in (self._root / TEMPORARY).iterdir()), default=0.0)
            for entry in (self._root / TEMPORARY).iterdir():
                if entry.stat().st_mtime < newest - TEMPORARY_AGE_SECONDS_MAX:
                    entry.unlink(missing_ok=True)
        except OSError as error:
            raise _store_error(self._root / TEMPORARY, error) from None


class _Upload:
    """A temporary file on its way to its place; leaving the context closes it, and removes it where it has not arrived."""

    def __init__(self, directory: str) -> None:
        self._descriptor, name = tempfile.mkstemp(dir=directory)
        self._path: str | None = name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        if self._path is not None:
            with contextlib.suppress(OSError):
                Path(self._path).unlink()

    def write(self, content: bytes) -> None:
        """Append. Raises BlobStoreError."""
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise _store_error(self._path, error) from None

    def hand_to_disk(self) -> None:
        """Let the system begin to write without waiting for it: what is synced later has then found its place, and one commit of a journal is enough for many files."""
        if hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):  # advice only
                os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        """Make its bytes durable. Raises BlobStoreError."""
        try:
            os.fchmod(self._descriptor, 0o640)
            os.fsync(self._descriptor)
        except OSError as error:
            raise _store_error(self._path, error) from None

    def move_in(self, place: str, tree: BlobTree) -> None:
        """Give it its name; the tree has yet to be synced. Raises BlobStoreError."""
        assert self._path is not None
        try:
            tree.move_in(self._path, place)
        except OSError as error:
            raise _store_error(place, error) from None
        self._path = None


def _place(ref: BlobRef) -> str:
    try:
        return blob_place(ref.sha256)
    except ValueError as error:
        raise BlobStoreError(str(error)) from None


def _store_error(path: Path | str | None, error: OSError) -> BlobStoreError:
    return BlobStoreError(f"blob store: {path}: {error.strerror or type(error).__name__}")
