"""Records of the main topic and of the journal as the lanes want them: decoded, checked, or stillborn with a reason."""

from collections.abc import Sequence

import structlog

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.addresses import wire_address
from postlane.core.events.request import MailRequested
from postlane.core.events.request_rules import check_request
from postlane.core.events.status import MailState
from postlane.core.events.trail import BadTrail, Headers, decode_replay, without_trail
from postlane.core.sending.lane_mail import Arrival, Content, Stillborn
from postlane.core.writing.mime_build import recipients_of
from postlane.ports import LogRecord, LogUnavailable

log = structlog.get_logger(__name__)


class Intake:
    """What is not worth an attempt is said here, so that the lanes can end it in its turn.

    `blocks` = reading may ask a schema registry, and so belongs in a thread.
    """

    def __init__(self, codec: Codec, *, blocks: bool = False) -> None:
        self._codec = codec
        self.blocks = blocks

    def arrivals(self, records: Sequence[LogRecord]) -> tuple[Arrival, ...]:
        """Records of the main topic. Raises LogUnavailable where a schema registry is needed and away."""
        return tuple(map(self._arrival_of_any, records))

    def _arrival_of_any(self, record: LogRecord) -> Arrival:
        try:
            return self._arrival(record)
        except LogUnavailable:
            raise
        except Exception as error:  # no record may stand in the way of its neighbours, whatever is in it
            log.exception("record_unreadable", partition=record.at.partition, offset=record.offset)
            bare = Content(value=record.value, headers=without_trail(record.headers))
            content = _stillborn(bare, "unreadable", f"it cannot be read: {type(error).__name__}")
            return Arrival(offset=record.offset, key=record.key, content=content)

    def _arrival(self, record: LogRecord) -> Arrival:
        content = self.content(record.key, record.value, record.headers)
        try:
            replay, remaining = decode_replay(record.headers)
            if remaining is not None and content.request is not None and content.stillborn is None:
                remaining = _known(remaining, content.request)
        except BadTrail as error:
            content = _stillborn(content, "bad_replay_header", str(error))
            replay, remaining = None, None
        return Arrival(
            offset=record.offset,
            key=record.key,
            content=content,
            remaining=remaining,
            replay=replay is not None,
        )

    def content(self, key: bytes | None, value: bytes | None, headers: Headers) -> Content:
        """The request in a record, or why there is none that can be sent."""
        bare = Content(value=value, headers=without_trail(headers))
        try:
            request = self._codec.decode(MailRequested, value)
        except Undecodable as error:
            return _stillborn(bare, "undecodable", str(error))
        if key is None:
            return _stillborn(
                bare,
                "no_key",
                "the record has no key: the key must be the ticket id, or its order cannot be kept",
            )
        if key != request.ticket_id.encode():
            reason = f"the record's key is not the ticket id {request.ticket_id!r} in UTF-8: its order cannot be kept"
            return _stillborn(bare, "wrong_key", reason)
        if faults := check_request(request):
            return Content(
                value=value,
                headers=bare.headers,
                request=request,
                stillborn=Stillborn(MailState.FAILED, "bad_request", "; ".join(faults), dead=True),
            )
        return Content(value=value, headers=bare.headers, request=request)


def _known(remaining: tuple[str, ...], request: MailRequested) -> tuple[str, ...]:
    """The recipients that a replay names, spelled as the envelope spells them. Raises BadTrail where it names a stranger."""
    spelled = {address.casefold(): address for address in recipients_of(request)}
    known = tuple(spelled.get((wire_address(address) or address).casefold(), "") for address in remaining)
    if not known or not all(known):
        raise BadTrail(
            f"header x-postlane-remaining names nobody, or somebody whom the request does not: {remaining[:5]}"
        )
    return known


def _stillborn(content: Content, cause: str, reason: str) -> Content:
    stillborn = Stillborn(MailState.FAILED, cause, reason, dead=True)
    return Content(value=content.value, headers=content.headers, stillborn=stillborn)
