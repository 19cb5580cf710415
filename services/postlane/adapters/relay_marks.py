"""The marks of a sender's relay section, as they travel with its requests in mail.relays."""

from postlane.core.sharing.section_marks import HEADER, decode_marks
from postlane.ports import LogRecord


def marks_in(record: LogRecord) -> dict[str, str]:
    """Those of a record; none where an older Postlane wrote it, or an allocator."""
    return next((decode_marks(value) for name, value in record.headers if name == HEADER), {})
