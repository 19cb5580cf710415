"""The topics that the outbound service lives on, by their full names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundTopics:
    """Partition p of each belongs to the owner of partition p of `main`."""

    main: str
    retry: str
    status: str
    dlq: str
