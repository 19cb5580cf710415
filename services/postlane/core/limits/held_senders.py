"""Which senders a relay refuses, as one sender process knows it, and when it is asked about one again: by a single mail.

sender    event                             then
free      refused                           held until now + wait
held      refused                           as before: that mail was in flight beside the first one
held      due, or a person's word           the next mail is the probe
probed    refused                           held for twice as long, up to the maximum
probed    over without a word about it      the next mail is the probe
any       accepted                          free

A mail's sender is its From address together with its envelope sender: relays look at either. What a relay minds may be the mail after
all, so every mail waits a little longer by chance: then it is not always the same one that probes.

    match senders.begin(sender, now, jitter):
        case SenderHeld() as held: ...                              # the relay is not asked
        case Trial() as trial:
            ...                                                     # the attempt
            judgement = senders.judged(trial, judgement, now, jitter)
            senders.ended(trial)                                    # in any case
"""

from dataclasses import dataclass, replace
from typing import assert_never

from postlane.core.addresses import wire_address
from postlane.core.limits.circuit import WAIT_SECONDS_MIN
from postlane.core.smtp.attempt import Attempted, Judgement, RelayHeld, SenderHeld

SENDERS_MAX = 10_000  # about 1 KB each; whoever is forgotten is tried once more
JITTER_SHARE = 0.1
PROBE_SECONDS = 10.0  # most probes are over by then; short enough to be waited for in memory


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A mail of this sender that is being tried."""

    sender: str


@dataclass(slots=True, eq=False)
class _Hold:
    refusal: SenderHeld
    seconds: float
    until: float
    probe: Trial | None = None


def sender_of(from_address: str, envelope_from: str | None) -> str:
    """The sender of a mail, in words that are the same for every spelling of its domains; `envelope_from` None = as From."""
    author = wire_address(from_address) or from_address
    envelope = author if envelope_from is None else wire_address(envelope_from) or envelope_from
    return author if envelope == author else f"{author} by <{envelope}>"


class HeldSenders:
    """One relay's."""

    def __init__(self, hold_seconds_max: float) -> None:
        self._hold_seconds_max = hold_seconds_max
        self._holds: dict[str, _Hold] = {}

    def begin(self, sender: str, now: float, jitter: float) -> Trial | SenderHeld:
        """Whether a mail of this sender may be tried; `jitter` in [0, 1)."""
        hold, trial = self._holds.get(sender), Trial(sender)
        if hold is None:
            return trial
        if hold.probe is not None or now < hold.until:
            words = f"mail from {sender} is held: {hold.refusal.reason}"
            return replace(_wait(hold, now, jitter), asked=False, reason=words)
        hold.probe = trial
        return trial

    def judged(self, trial: Trial, judgement: Judgement, now: float, jitter: float) -> Judgement:
        """Take note of what the attempt came to; a refusal of the sender comes back with the wait that follows from it."""
        match judgement:
            case SenderHeld():
                return _wait(self._refused(trial, judgement, now), now, jitter)
            case Attempted():
                if judgement.accepted is not None:
                    self._holds.pop(trial.sender, None)
                return judgement
            case RelayHeld():
                return judgement
            case _:
                assert_never(judgement)

    def ended(self, trial: Trial) -> None:
        """The attempt is over, be it that it was cut off."""
        hold = self._holds.get(trial.sender)
        if hold is not None and hold.probe is trial:
            hold.probe = None

    def probe_now(self, now: float) -> bool:
        """Let the next mail of each held sender be its probe, because a person says so; True where any is held."""
        for hold in self._holds.values():
            hold.until = min(hold.until, now)
        return bool(self._holds)

    def __len__(self) -> int:
        return len(self._holds)

    def _refused(self, trial: Trial, refusal: SenderHeld, now: float) -> _Hold:
        before = self._holds.get(trial.sender)
        if before is not None and before.probe is not trial:
            return before
        named, doubled = refusal.wait_seconds, 0.0 if before is None else 2 * before.seconds
        seconds = max(named, WAIT_SECONDS_MIN, min(doubled, self._hold_seconds_max))
        while before is None and len(self._holds) >= SENDERS_MAX:
            del self._holds[next(iter(self._holds))]
        hold = self._holds[trial.sender] = _Hold(refusal, seconds, now + seconds)
        return hold


def _wait(hold: _Hold, now: float, jitter: float) -> SenderHeld:
    """Until the hold's end, and a little longer; while it is being probed, until that may be over."""
    left = hold.until - now
    seconds = left + JITTER_SHARE * hold.seconds * jitter if left > 0 else PROBE_SECONDS * (1 + jitter)
    return replace(hold.refusal, wait_seconds=seconds)
