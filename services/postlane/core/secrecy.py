"""Keeps our secrets out of words that others gave us: a confused server may repeat what it was sent, whole, cut short or encoded."""

import re
from base64 import b64encode
from urllib.parse import quote, quote_plus

HIDDEN = "***"
PART_CHARACTERS = 16  # shorter parts of a secret say nothing, and would be found in innocent words

_RUN = re.compile(rf"[A-Za-z0-9+/=_.~%-]{{{PART_CHARACTERS},}}")


class Secrets:
    """Values that must not show, in every form in which they are sent."""

    __slots__ = ("_folded", "_forms", "_values")

    def __init__(self, *values: str) -> None:
        self._values = values
        forms = {form for value in values if value for form in _forms(value)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self._folded = tuple(form.casefold() for form in self._forms)

    def plus(self, *values: str) -> "Secrets":
        """These and more."""
        return Secrets(*self._values, *values)

    def hide(self, text: str) -> str:
        """The text without them: whole ones always, parts from PART_CHARACTERS on, which is what an answer cut or folded leaves."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return _RUN.sub(lambda run: self._without_parts(run[0]), text) if self._forms else text

    def _without_parts(self, run: str) -> str:
        kept, shown_to, position = "", 0, 0
        folded = run.casefold()  # some servers answer in capitals
        while position <= len(run) - PART_CHARACTERS:
            if not self._holds(folded[position : position + PART_CHARACTERS]):
                position += 1
                continue
            end = position + PART_CHARACTERS
            while end < len(run) and self._holds(folded[end - PART_CHARACTERS + 1 : end + 1]):
                end += 1
            kept += run[shown_to:position] + HIDDEN
            shown_to = position = end
        return kept + run[shown_to:]

    def _holds(self, part: str) -> bool:
        return any(part in form for form in self._folded)


def _forms(value: str) -> tuple[str, ...]:
    """As it is, in Base64 (SASL, HTTP Basic) and as a form's value."""
    return value, b64encode(value.encode()).decode(), quote(value, safe=""), quote_plus(value)
