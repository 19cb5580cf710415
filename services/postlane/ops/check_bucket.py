"""Doctor's check of a blob store in a bucket: a small object is written, copied, read and deleted."""

from postlane.adapters.blob_stores import open_blob_store
from postlane.config.blobs_section import BlobsSection
from postlane.ops.checks import Check, fail, ok
from postlane.ports import BlobStoreError


async def check_bucket(section: BlobsSection) -> Check:
    """Whether everything that services do with the bucket is allowed."""
    assert section.s3 is not None
    try:
        await open_blob_store(section).prepare()
    except BlobStoreError as error:
        return fail("blobs", str(error), "correct [blobs.s3], or the bucket's rights")
    return ok("blobs", f"{section.s3.place} can be written, copied within, read and deleted from")
