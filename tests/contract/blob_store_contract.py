"""What every BlobStore must do."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from postlane.core.events.mail import BlobRef
from postlane.ports import BlobMissing, BlobStore


async def parts_of(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


class BlobStoreContract:
    """Subclasses give an empty `store`."""

    @pytest.mark.parametrize("content", [b"", b"x", b"\x00\xff" * 1000, b"mail\r\n" * 200_000])
    async def test_what_is_put_can_be_got(self, store: BlobStore, content: bytes) -> None:
        ref = await store.put(content)
        assert ref == BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        assert await store.get(ref) == content

    async def test_the_same_content_has_one_name_however_it_came(self, store: BlobStore) -> None:
        whole = await store.put(b"onetwothree")
        again = await store.put(b"onetwothree")
        streamed = await store.put_stream(parts_of(b"one", b"", b"two", b"three"))
        assert whole == again == streamed
        assert await store.get(streamed) == b"onetwothree"

    async def test_an_empty_stream_is_an_empty_blob(self, store: BlobStore) -> None:
        ref = await store.put_stream(parts_of())
        assert ref.size_bytes == 0
        assert await store.get(ref) == b""

    async def test_a_stream_that_breaks_leaves_nothing(self, store: BlobStore) -> None:
        async def breaking() -> AsyncIterator[bytes]:
            yield b"first half"
            raise ConnectionError("lost")

        with pytest.raises(ConnectionError):
            await store.put_stream(breaking())
        for content in (b"first half", b""):
            ref = BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
            with pytest.raises(BlobMissing):
                await store.get(ref)

    async def test_what_is_not_there_is_missing(self, store: BlobStore) -> None:
        with pytest.raises(BlobMissing):
            await store.get(BlobRef(sha256="0" * 64, size_bytes=1))

    async def test_many_may_put_at_once_also_the_same(self, store: BlobStore) -> None:
        contents = [b"content %d" % (number % 5) for number in range(40)]
        refs = await asyncio.gather(*(store.put(content) for content in contents))
        assert len(set(refs)) == 5
        assert [await store.get(ref) for ref in refs] == contents

    async def test_many_are_put_in_one_call_also_the_same(self, store: BlobStore) -> None:
        contents = [b"content %d" % (number % 90) for number in range(150)]
        await store.put(contents[7])
        refs = await store.put_all(contents)
        assert [await store.get(ref) for ref in refs] == contents
        assert refs == [await store.put(content) for content in contents]
        assert await store.put_all([]) == []
