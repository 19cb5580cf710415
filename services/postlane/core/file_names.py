"""Attachment names that are safe to be a file's name anywhere."""

import re

FILE_NAME_BYTES_MAX = 180  # file systems allow 255; room for suffixes that consumers add
EXTENSION_MAX = 20

# Separators, characters that Windows refuses, control characters, and marks that turn the reading direction (`exe.pdf`).
_UNSAFE = re.compile(
    '[\\x00-\\x1f\\x7f-\\x9f/\\\\:*?"<>|\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufffe\uffff]'
)
_BLANKS = re.compile(r"\s+")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
# The types that nameless parts of real mail have; the standard library's table would read the machine's own files.
_EXTENSIONS = {
    "message/rfc822": ".eml",
    "message/delivery-status": ".txt",
    "message/disposition-notification": ".txt",
    "message/feedback-report": ".txt",
    "text/plain": ".txt",
    "text/html": ".html",
    "text/calendar": ".ics",
    "text/vcard": ".vcf",
    "text/csv": ".csv",
    "text/rfc822-headers": ".txt",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/svg+xml": ".svg",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/json": ".json",
    "application/xml": ".xml",
    "application/ms-tnef": ".dat",
    "application/pgp-signature": ".asc",
    "application/pgp-encrypted": ".asc",
    "application/pkcs7-mime": ".p7m",
    "application/pkcs7-signature": ".p7s",
}


def safe_file_name(given: str | None, content_type: str, number: int) -> str:
    """The sender's name made safe, or `attachment-N` with the type's usual extension."""
    base = re.split(r"[/\\]", given)[-1] if given else ""
    name = _BLANKS.sub(" ", _UNSAFE.sub("_", base)).strip(" .")
    if not name.strip("_"):
        name = f"attachment-{number}{_EXTENSIONS.get(content_type, '')}"
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    return _shorten(name)


def _shorten(name: str) -> str:
    if len(name.encode()) <= FILE_NAME_BYTES_MAX:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = f"{dot}{extension}" if stem and len(extension) <= EXTENSION_MAX else ""
    room = FILE_NAME_BYTES_MAX - len(tail.encode())
    return name.removesuffix(tail).encode()[:room].decode("utf-8", "ignore") + tail
