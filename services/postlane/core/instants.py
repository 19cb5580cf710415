"""Seconds since 1970 as moments, for events and for people."""

from datetime import UTC, datetime


def moment(seconds: float) -> datetime:
    """An aware UTC datetime, whole milliseconds as Avro keeps them."""
    return datetime.fromtimestamp(round(seconds * 1000) / 1000, tz=UTC)


def iso_utc(seconds: float) -> str:
    """RFC 3339 in UTC, such as 2026-11-22T05:10:00Z."""
    return moment(seconds).isoformat(timespec="seconds").replace("+00:00", "Z")
