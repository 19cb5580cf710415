"""The topics that the outbound service lives on, by their full names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundTopics:
    """Partition p of each belongs to the owner of partition p of `main`."""

    main: str
    retry: str
    status: str
    dlq: str

    @classmethod
    def with_prefix(cls, prefix: str) -> "OutboundTopics":
        """The names on a cluster where every topic of ours starts with `prefix`."""
        main = f"{prefix}mail.outbound"
        return cls(main=main, retry=f"{main}.retry", status=f"{main}.status", dlq=f"{main}.dlq")
