"""Return paths that name their mail (VERP): the address that a report is sent to tells which mail it is about, and whom it went to.

    support+vTICKET.MAILRECIPIENT.KEYMAC@desk.example

TICKET and KEYMAC are as in core.ticket_marks, over a text of their own; by the `v` nobody takes a return path for a reply address. MAIL, 16
characters, stands for the event as in the Message-ID, so that the whole Message-ID can be written again. RECIPIENT, 8 characters, is an HMAC over
ticket, mail and recipient, and stands only where the envelope had that one recipient. 40 bits suffice for it, because nobody can try others: they are
signed, and each mail has its own.

A local part takes 64 octets. Where not all fits, MAIL is left out first, then RECIPIENT. Where not even the ticket fits, the address stays as it is.
"""

import hmac
import re
from dataclasses import dataclass, field

from postlane.core.mark_text import (
    ID,
    KEY_MAC,
    MAC_CHARS,
    event_part,
    mac,
    read_id,
    tag_of,
    tagged_address,
    write_id,
)
from postlane.core.ticket_marks import Mark, Signer, SigningKeys

RECIPIENT_CHARS = 8  # 40 bits

_TAG = re.compile(
    rf"v(?P<signed>{ID}(?:\.(?P<part>[a-z2-7]{{{MAC_CHARS}}})?(?P<to>[a-z2-7]{{{RECIPIENT_CHARS}}})?)?)\.{KEY_MAC}"
)


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """What a return path of ours says: nothing beyond an unverified mark where its signature does not hold.

    `message_id` is None where it names no mail; `recipient` is the code of the only recipient, empty where it names none: ask `names_recipient`.
    """

    mark: Mark
    message_id: str | None = None
    recipient: str = ""
    scope: str = field(default="", repr=False)


def write_return_path(
    signer: Signer, address: str, *, ticket_id: str, event_id: str, mailbox: str | None
) -> str | None:
    """The address with a tag; `mailbox` is the envelope's only recipient as `mailbox_key` spells it. None where no tag fits."""
    ticket, part = write_id(ticket_id), event_part(event_id)
    to = "" if mailbox is None else _recipient(signer.secret, _scope(ticket, part), mailbox)
    to_of_ticket = "" if mailbox is None else _recipient(signer.secret, _scope(ticket, ""), mailbox)
    for code in (part + to, to_of_ticket, ""):
        signed = _scope(ticket, code)
        keyed = f"{signer.key_id}{mac(signer.secret, f'path:{signed}@{signer.domain}')}"
        if tagged := tagged_address(address, f"v{signed}.{keyed}"):
            return tagged
    return None


def read_return_path(keys: SigningKeys, address: str) -> ReturnPath | None:
    """What an address says if it is a return path of ours, forged ones included."""
    tag = tag_of(address)
    found = tag and _TAG.fullmatch(tag)
    ticket_id = found and read_id(found["id"])
    if not found or ticket_id is None:
        return None
    secret, domain = keys.secret(found["key"]), keys.domain.lower()
    if secret is None or not hmac.compare_digest(
        mac(secret, f"path:{found['signed']}@{domain}"), found["mac"]
    ):
        return ReturnPath(Mark(ticket_id, verified=False, key_id=found["key"]))
    signer, part = Signer(found["key"], secret, domain), found["part"] or ""
    return ReturnPath(
        Mark(ticket_id, verified=True, key_id=found["key"]),
        message_id=signer.message_id_by_part(ticket_id, part) if part else None,
        recipient=found["to"] or "",
        scope=_scope(found["id"], part),
    )


def names_recipient(keys: SigningKeys, path: ReturnPath, mailbox: str) -> bool:
    """Whether the mail of this return path went to that mailbox alone."""
    secret = keys.secret(path.mark.key_id)
    return secret is not None and hmac.compare_digest(_recipient(secret, path.scope, mailbox), path.recipient)


def _scope(ticket: str, code: str) -> str:
    return f"{ticket}.{code}" if code else ticket


def _recipient(secret: bytes, scope: str, mailbox: str) -> str:
    return mac(secret, f"path-to:{scope}:{mailbox}")[:RECIPIENT_CHARS]
