"""The blob store that the configuration names."""

from typing import Protocol

from postlane.adapters.blob_directory import BlobDirectory
from postlane.config.blobs_section import BlobsSection
from postlane.ports import BlobStore, BlobStoreError


class ConfiguredBlobStore(BlobStore, Protocol):
    """A blob store that can say at the start whether it works."""

    async def prepare(self) -> None:
        """Prove that blobs can be written. Raises BlobStoreError."""


def open_blob_store(section: BlobsSection) -> ConfiguredBlobStore:
    """The bucket where there is one, else the directory; nothing is read or written yet. Raises BlobStoreError."""
    if section.s3 is None:
        return BlobDirectory(section.directory)
    try:
        from postlane.adapters.blob_s3 import BlobS3  # noqa: PLC0415 - of the extra `s3`, which a directory does not need
    except ModuleNotFoundError as error:
        raise BlobStoreError(
            f"[blobs.s3] needs the package {error.name}: pip install 'postlane[s3]'"
        ) from None
    return BlobS3(section.s3)
