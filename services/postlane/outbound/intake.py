"""Records of the main topic and of the journal as the lanes want them: decoded, checked, or stillborn with a reason."""

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.lane_mail import Arrival, Content, Stillborn
from postlane.core.request import MailRequested
from postlane.core.request_rules import check_request
from postlane.core.status import MailState
from postlane.core.trail import BadTrail, Headers, decode_replay, without_trail
from postlane.ports import LogRecord


class Intake:
    """What is not worth an attempt is said here, so that the lanes can end it in its turn."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def arrival(self, record: LogRecord) -> Arrival:
        """A record of the main topic."""
        content = self.content(record.key, record.value, record.headers)
        try:
            replay, remaining = decode_replay(record.headers)
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


def _stillborn(content: Content, cause: str, reason: str) -> Content:
    stillborn = Stillborn(MailState.FAILED, cause, reason, dead=True)
    return Content(value=content.value, headers=content.headers, stillborn=stillborn)
