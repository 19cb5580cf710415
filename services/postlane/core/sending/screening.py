"""Who of a mail's recipients is tried at all: the suppression list first, then safety, then the list again for a stand-in.

    screened = screen(recipients, safety, listed)
    judgement = judge(transcript, screened.envelope, classify)      # only if screened.envelope names somebody
    judgement = conclude(screened, judgement)                       # about the recipients again

Nothing of it lasts before an attempt counts: while relay or sender is held the next try asks the list anew. Then it is in the status, and the
journal holds only those who are still to be served.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from postlane.core.routing.safety import Safety
from postlane.core.smtp.attempt import (
    CAUSE_SAFETY,
    CAUSE_SUPPRESSED,
    Attempted,
    Judgement,
    Redirect,
    RelayHeld,
    SenderHeld,
    SuppressedRecipient,
)
from postlane.core.smtp.unknown_recipients import SUPPRESSING_CAUSES

Listed = Callable[[str], str | None]
"""Why an address is on the suppression list (a token); None: it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """`served` names each recipient who is tried, and the address that the envelope names for him."""

    served: tuple[tuple[str, str], ...] = ()
    suppressed: tuple[SuppressedRecipient, ...] = ()

    @property
    def envelope(self) -> tuple[str, ...]:
        """The recipients of the envelope, each once; empty: there is nothing to send."""
        return tuple(dict.fromkeys(address for _, address in self.served))


def screening(safety: Safety, listed: Listed) -> Callable[[tuple[str, ...], bool], Screened]:
    """`screen` for mails, and for those that a person wants sent again: what a relay once said about an address does not stop these."""

    def unless_a_relay_said_so(address: str) -> str | None:
        why = listed(address)
        return None if why in SUPPRESSING_CAUSES else why

    def screen_for(recipients: tuple[str, ...], by_a_person: bool) -> Screened:
        return screen(recipients, safety, unless_a_relay_said_so if by_a_person else listed)

    return screen_for


def screen(recipients: tuple[str, ...], safety: Safety, listed: Listed) -> Screened:
    """Decide who is tried, and under which address."""
    served: list[tuple[str, str]] = []
    suppressed: list[SuppressedRecipient] = []
    for recipient in recipients:
        if (why := listed(recipient)) is not None:
            suppressed.append(_listed(recipient, f"on the suppression list ({why})"))
            continue
        address = safety.destination(recipient)
        if address is None:
            reason = "[safety] only_to does not name this recipient"
            suppressed.append(SuppressedRecipient(recipient, CAUSE_SAFETY, reason))
        elif address != recipient and (why := listed(address)) is not None:
            reason = f"[safety] redirect_to = {address} is on the suppression list ({why})"
            suppressed.append(_listed(recipient, reason))
        else:
            served.append((recipient, address))
    return Screened(served=tuple(served), suppressed=tuple(suppressed))


def conclude(screened: Screened, judgement: Judgement | None) -> Judgement:
    """What an attempt for `screened.envelope` came to (None: nobody was to be tried), said of the mail's recipients."""
    match judgement:
        case RelayHeld() | SenderHeld():
            return judgement
        case None:
            unasked = Attempted(delivered=(), waiting=(), failed=(), accepted=None, unknown=False)
            return replace(unasked, suppressed=screened.suppressed)
        case Attempted():
            return _concluded(screened, judgement)
        case _:
            assert_never(judgement)


def _concluded(screened: Screened, attempted: Attempted) -> Attempted:
    delivered = set(attempted.delivered)
    waiting = {trouble.address: trouble for trouble in attempted.waiting}
    failed = {trouble.address: trouble for trouble in attempted.failed}
    return replace(
        attempted,
        delivered=tuple(recipient for recipient, address in screened.served if address in delivered),
        waiting=tuple(replace(waiting[at], address=r) for r, at in screened.served if at in waiting),
        failed=tuple(replace(failed[at], address=r) for r, at in screened.served if at in failed),
        suppressed=screened.suppressed,
        redirect=_redirect(screened),
    )


def _redirect(screened: Screened) -> Redirect | None:
    redirected = [(recipient, address) for recipient, address in screened.served if recipient != address]
    if not redirected:
        return None
    return Redirect(redirected[0][1], tuple(recipient for recipient, _ in redirected))


def _listed(recipient: str, reason: str) -> SuppressedRecipient:
    return SuppressedRecipient(recipient, CAUSE_SUPPRESSED, reason)
