"""Whether the blob store works at all, so that a failure is one mail's own."""

import contextlib
import os
from collections.abc import AsyncIterator

from postlane.inbound.oversize import PART_BYTES
from postlane.ports import BlobStore, BlobStoreError

PROBE_BYTES = 4096  # one block of most file systems, so that none keeps it beside its metadata for free


class _Rehearsed(Exception):
    """Ends a stream that is not meant to be kept."""


async def store_works(blobs: BlobStore, size_bytes: int = 0) -> bool:
    """Whether it takes anything and has room for that much."""
    try:
        with contextlib.suppress(_Rehearsed):
            await blobs.put_stream(_rehearsal(size_bytes))
        # Random, because a blob that is there already is not written again.
        await blobs.put(os.urandom(PROBE_BYTES))
    except BlobStoreError:
        return False
    return True


async def _rehearsal(size_bytes: int) -> AsyncIterator[bytes]:
    """So many bytes, then a break: the store has found room for them and keeps nothing."""
    for at in range(0, size_bytes, PART_BYTES):
        yield os.urandom(min(PART_BYTES, size_bytes - at))
    raise _Rehearsed
