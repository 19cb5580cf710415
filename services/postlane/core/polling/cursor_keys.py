"""The keys on `mail.inbound.cursor`: compaction keeps the newest cursor and the newest report of each folder."""

_REPORT = b"report\x00"


def cursor_key(mailbox: str, folder: str) -> bytes:
    """The key of a cursor record."""
    return f"{mailbox}/{folder}".encode()


def report_key(mailbox: str, folder: str) -> bytes:
    """The key of a report record; no mailbox and no folder has a NUL in its name, so it is nobody's cursor."""
    return _REPORT + cursor_key(mailbox, folder)


def is_report(key: bytes | None) -> bool:
    """Whether a record on the cursor topic is a report."""
    return key is not None and key.startswith(_REPORT)
