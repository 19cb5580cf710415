"""Who tells people, where several sender processes see the same: for each relay one of them speaks for all.

Every process keeps its own alerts (core.alerts.raising), its line in the log and its metric. What only one process can see, such as its own
backlog, it tells itself. Where the speaker changes, the new one tells what it has not told: rather twice, under the same fingerprint, than never.
"""

from collections.abc import Callable, Iterable, Sequence

from postlane.core.alerts.catalogue import KINDS
from postlane.core.alerts.raising import Alert, Clear, Condition, Effect, Key, Raise

IsSpeaker = Callable[[str], bool]
"""Whether this process speaks for all about this relay."""


def everybody_speaks(relay: str) -> bool:
    """For a sender that knows of no others."""
    del relay
    return True


class Speaking:
    """What of one process's alerts people have yet to hear from it, should it become the speaker."""

    def __init__(self, is_speaker: IsSpeaker) -> None:
        self._is_speaker = is_speaker
        self._left_to_others: set[Key] = set()
        self._told: set[Key] = set()  # who told people of a trouble tells them of its end

    def step(self, effects: Sequence[Effect], raised: Iterable[Alert]) -> list[Effect]:
        """Which of these effects people are to be told by this process; `raised` are all alerts that stand now."""
        told: list[Effect] = []
        for effect in effects:
            key = effect.alert.condition.key
            own_end = isinstance(effect, Clear) and key in self._told
            if own_end or self._speaks(effect.alert.condition):
                told.append(effect)
                self._left_to_others.discard(key)
                self._note(key, effect)
            elif isinstance(effect, Raise):
                self._left_to_others.add(key)
            elif isinstance(effect, Clear):
                self._left_to_others.discard(key)
        return told + self._taken_over(raised)

    def _taken_over(self, raised: Iterable[Alert]) -> list[Effect]:
        """What the speaker before may not have told."""
        mine = [a for a in raised if a.condition.key in self._left_to_others and self._speaks(a.condition)]
        keys = {alert.condition.key for alert in mine}
        self._left_to_others -= keys
        self._told |= keys
        return [Raise(alert) for alert in mine]

    def _note(self, key: Key, effect: Effect) -> None:
        if isinstance(effect, Clear):
            self._told.discard(key)
        else:
            self._told.add(key)

    def _speaks(self, condition: Condition) -> bool:
        return not KINDS[condition.alert].shared or self._is_speaker(condition.subject)
