"""What inbound writes to Kafka besides feedback: received mail, cursors, reports."""

import asyncio
from collections.abc import Sequence

from postlane.adapters.avro_codec import Codec, Unencodable
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.core.events.received import MailboxCursor, MailboxReport, MailReceived
from postlane.core.polling.cursor_keys import cursor_key, report_key
from postlane.core.reading.mail_event import record_key
from postlane.inbound.batches import MailFailed
from postlane.inbound.topics import InboundTopics
from postlane.ports import NewRecord

SOURCE = "/postlane/inbound"


class InboundRecords:
    """Encodes; a schema registry may have to be asked, so in a thread."""

    def __init__(self, codec: Codec, topics: InboundTopics) -> None:
        self._codec = codec
        self._topics = topics

    def received(self, event: MailReceived) -> NewRecord:
        """The record of a mail; to be called in a thread. Raises MailFailed."""
        try:
            value = self._codec.encode(event)
        except Unencodable as error:
            raise MailFailed(event.uid, "unencodable", str(error), permanent=True) from None
        key = record_key(event)
        return NewRecord(
            to=self._topics.main_for(key), key=key, value=value, headers=cloud_event_headers(event, SOURCE)
        )

    async def cursor(self, cursor: MailboxCursor, partition: int) -> NewRecord:
        """The record of a cursor."""
        value = await asyncio.to_thread(self._codec.encode, cursor)
        return NewRecord(
            to=self._topics.cursor_at(partition),
            key=cursor_key(cursor.mailbox, cursor.folder),
            value=value,
            headers=cloud_event_headers(cursor, SOURCE),
        )

    async def reports(self, reports: Sequence[MailboxReport], partition: int) -> list[NewRecord]:
        """The records of reports."""

        def encoded() -> list[NewRecord]:
            return [
                NewRecord(
                    to=self._topics.cursor_at(partition),
                    key=report_key(report.mailbox, report.folder),
                    value=self._codec.encode(report),
                    headers=cloud_event_headers(report, SOURCE),
                )
                for report in reports
            ]

        return await asyncio.to_thread(encoded)
