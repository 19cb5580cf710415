"""Seconds since 1970 as moments, for events and for people."""

from datetime import UTC, datetime


def moment(seconds: float) -> datetime:
    """An aware UTC datetime, whole milliseconds as Avro keeps them."""
    return datetime.fromtimestamp(round(seconds * 1000) / 1000, tz=UTC)


def rfc3339(at: datetime) -> str:
    """An aware time in UTC with milliseconds, such as 2026-11-22T05:10:00.000Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def iso_utc(seconds: float) -> str:
    """Seconds since 1970 for people's eyes, such as 2026-11-22T05:10:00Z."""
    return f"{moment(seconds):%Y-%m-%dT%H:%M:%S}Z"
