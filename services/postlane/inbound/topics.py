"""The topics that the inbound service lives on, by their full names, and how its records are addressed."""

from dataclasses import dataclass

from postlane.core.partitioner import partition_of
from postlane.ports import TopicPartition

MAIN = "mail.inbound"
CURSOR = "mail.inbound.cursor"
DLQ = "mail.inbound.dlq"
FEEDBACK = "mail.outbound.feedback"
CONTROL = "mail.control"
NAMES = (MAIN, CURSOR, DLQ, FEEDBACK, CONTROL)


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundTopics:
    """All have the same number of partitions; those of `cursor` also share the mailboxes out. `feedback` belongs to the tickets' side."""

    main: str
    cursor: str
    dlq: str
    feedback: str
    partitions: int

    @classmethod
    def with_prefix(cls, prefix: str, partitions: int) -> "InboundTopics":
        """The names on a cluster where every topic of ours starts with `prefix`."""
        return cls(
            main=prefix + MAIN,
            cursor=prefix + CURSOR,
            dlq=prefix + DLQ,
            feedback=prefix + FEEDBACK,
            partitions=partitions,
        )

    def partition_of_mailbox(self, mailbox: str) -> int:
        """Which partition of `cursor` the mailbox belongs to."""
        return partition_of(mailbox.encode(), self.partitions)

    def main_for(self, key: bytes) -> TopicPartition:
        """Where a received mail with this key goes."""
        return TopicPartition(self.main, partition_of(key, self.partitions))

    def dlq_for(self, key: bytes) -> TopicPartition:
        """Where a mail in quarantine with this key goes."""
        return TopicPartition(self.dlq, partition_of(key, self.partitions))

    def feedback_for(self, key: bytes) -> TopicPartition:
        """Where feedback about the mail of a ticket goes: the partition that the ticket has in every topic of outbound."""
        return TopicPartition(self.feedback, partition_of(key, self.partitions))

    def written_beside_cursors(self) -> list[TopicPartition]:
        """Every partition that a transaction with a cursor may also write to."""
        topics = (self.main, self.dlq, self.feedback)
        return [TopicPartition(topic, number) for topic in topics for number in range(self.partitions)]

    def cursor_at(self, partition: int) -> TopicPartition:
        """The cursors of a partition's mailboxes."""
        return TopicPartition(self.cursor, partition)
