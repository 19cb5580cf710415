"""How a blob is called within its store: the same in a directory and in a bucket, so that one can be copied to the other."""

import re

_SHA256 = re.compile(r"[0-9a-f]{64}")


def blob_place(sha256: str) -> str:
    """`ab/cd/abcd...`, two levels so that no directory grows too large. Raises ValueError for what is no hash."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256[:80]!r} is no blob name: 64 lower-case hex digits are")
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"
