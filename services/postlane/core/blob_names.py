"""How a blob is called within its store: the same in a directory and in a bucket, so that one can be copied to the other."""

import re

FAN_OUT_DIGITS = 2  # 256 directories: few enough that mails stored together share some, so that fewer are synced; some million files in each do no harm
_SHA256 = re.compile(r"[0-9a-f]{64}")


def blob_place(sha256: str) -> str:
    """`ab/abcd...`. Raises ValueError for what is no hash."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256[:80]!r} is no blob name: 64 lower-case hex digits are")
    return f"{sha256[:FAN_OUT_DIGITS]}/{sha256}"
