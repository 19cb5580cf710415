"""Which reverse path a mail goes out with: whom a report about it will be sent to (RFC 5321 section 4.4).

request's envelope_from   bounce_address   verp    the envelope names
empty                     any              any     `<>`
an address                any              any     that address, as it is
none                      none             no      the mail's From
none                      an address       no      bounce_address
none                      any              yes     From or bounce_address, with a signed tag (core.return_paths) where it fits

It is the same whenever the same mail goes to the same recipients.
"""

from dataclasses import dataclass

from postlane.core.addresses import mailbox_key, wire_address
from postlane.core.events.request import MailRequested
from postlane.core.return_paths import write_return_path
from postlane.core.ticket_marks import SigningKeys
from postlane.core.writing.mime_build import recipients_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderPolicy:
    """What a relay is told beside what the request says."""

    keys: SigningKeys
    bounce_address: str | None = None
    verp: bool = False

    def named_by(self, request: MailRequested) -> str | None:
        """The envelope sender without a tag; None: as From."""
        return self.bounce_address if request.envelope_from is None else request.envelope_from


def envelope_sender(request: MailRequested, recipients: tuple[str, ...], policy: SenderPolicy) -> str:
    """The reverse path of this mail to these recipients, empty for `<>`. Raises ValueError for an address that `check_request` would have refused."""
    named = policy.named_by(request)
    if named == "":
        return ""
    given = request.from_address.address if named is None else named
    address = wire_address(given)
    if address is None:
        raise ValueError(f"{given!r} is not a mail address")
    if not policy.verp or request.envelope_from is not None:
        return address
    tagged = write_return_path(
        policy.keys.signer(request.requested_at),
        address,
        ticket_id=request.ticket_id,
        event_id=request.event_id,
        mailbox=_only_recipient(request, recipients),
    )
    return tagged or address


def _only_recipient(request: MailRequested, recipients: tuple[str, ...]) -> str | None:
    """Who alone will see this envelope. An address in a recipient's place ([safety] redirect_to) is nobody whom the mail was for."""
    if len(recipients) != 1 or recipients[0] not in recipients_of(request):
        return None
    return mailbox_key(recipients[0])
