"""An invitation (text/calendar, RFC 5545) as words, for mail that has no others."""

import re

COMPONENTS_MAX = 5  # events told of; an invitation has one
CALENDAR_CHARACTERS_MAX = 256 * 1024
_FOLD = re.compile(r"\r?\n[ \t]")
_ESCAPED = re.compile(r"\\([\\;,nN])")
_PROPERTY = re.compile(r"([A-Za-z-]{1,60})((?:;(?:\"[^\"]*\"|[^:\"])*)?):(.*)", re.DOTALL)
_ZONE = re.compile(r"TZID=\"?([^;\":]{1,80})", re.IGNORECASE)
_MOMENT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d\d(Z?))?")
_MAIL_TO = re.compile(r"^mailto:", re.IGNORECASE)


def calendar_text(calendar: str) -> str:
    """Method, summary, time, place, organizer and description of the events, one item a line."""
    method = ""
    events: list[list[str]] = []
    inside: list[str] | None = None
    for line in _FOLD.sub("", calendar[:CALENDAR_CHARACTERS_MAX]).splitlines():
        found = _PROPERTY.fullmatch(line.strip())
        if found is None:
            continue
        name, parameters, value = found[1].upper(), found[2], _unescaped(found[3]).strip()
        if name == "METHOD":
            method = value.upper()
        elif (
            name == "BEGIN"
            and value.upper() in ("VEVENT", "VTODO", "VJOURNAL")
            and len(events) < COMPONENTS_MAX
        ):
            inside = []
            events.append(inside)
        elif name == "END" and value.upper() in ("VEVENT", "VTODO", "VJOURNAL"):
            inside = None
        elif inside is not None and (told := _told(name, parameters, value)):
            inside.append(told)
    lines = [method] if method and any(events) else []
    return "\n".join(lines + ["\n".join(sorted(event, key=_rank)) for event in events if event])


# The order in which an event is told; DESCRIPTION stands last because it may be long.
_LABELS = {
    "SUMMARY": "Summary: ",
    "DTSTART": "Start: ",
    "DTEND": "End: ",
    "DUE": "Due: ",
    "LOCATION": "Location: ",
    "ORGANIZER": "Organizer: ",
    "DESCRIPTION": "\n",
}
_ORDER = list(_LABELS.values())


def _rank(line: str) -> int:
    return next(rank for rank, label in enumerate(_ORDER) if line.startswith(label))


def _told(name: str, parameters: str, value: str) -> str:
    label = _LABELS.get(name)
    if label is None or not value:
        return ""
    if name in ("DTSTART", "DTEND", "DUE"):
        return label + _moment(value, parameters)
    return label + (_MAIL_TO.sub("", value) if name == "ORGANIZER" else value)


def _moment(value: str, parameters: str) -> str:
    found = _MOMENT.match(value)
    if found is None:
        return value
    year, month, day, hour, minute, utc = found.groups()
    zone = _ZONE.search(parameters)
    where = " UTC" if utc else f" ({zone[1]})" if zone else ""
    return f"{year}-{month}-{day}" + (f" {hour}:{minute}{where}" if hour else "")


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], value)
