"""Structured logs: every line, ours, librdkafka's and other libraries', takes one way out and passes the redaction.

Lines go to stderr, as JSON or, on a terminal, in colour. Times are UTC. Bind ids once and they stand on every line:
`log = structlog.get_logger(__name__).bind(ticket_id=..., event_id=...)`.
"""

import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import date
from pathlib import PurePath
from typing import IO, Any

import structlog

from postlane.config.secrets import looks_secret
from postlane.config.sections import LogsSection

REDACTED = "[redacted]"
VALUE_CHARACTERS_MAX = 2000  # a log line is for reading; what is longer is a body or a dump
TRACEBACK_CHARACTERS_MAX = 20_000
DEPTH_MAX = 6  # deeper structures are no log values

_BODY_KEYS = frozenset({"body", "content", "html", "message_bytes", "raw", "text"})
_URL_PASSWORD = re.compile(r"(?<=://)[^/@\s]*:[^/@\s]*(?=@)")

EventDict = MutableMapping[str, Any]


def configure(
    settings: LogsSection,
    stream: IO[str] | None = None,
    silent: frozenset[str] = frozenset(),
    service: str | None = None,
) -> None:
    """Set the process's logging up, before the first line. `stream` is stderr unless given; loggers in `silent` are not shown.

    `service` stands on every line. (A context variable would not reach what other threads begin.)
    """
    out = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    pretty = settings.format == "pretty" or (settings.format == "auto" and out.isatty())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(service),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(_formatter(service, pretty=pretty, colors=out.isatty()))
    handler.addFilter(lambda record: record.name not in silent)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace secrets and bodies by a mark, known by their key, and passwords inside URLs; a structlog processor."""
    return {key: _redacted(key, value, 0) for key, value in event.items()}


def _redacted(key: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if looks_secret(key) or key.lower() in _BODY_KEYS:
        return REDACTED
    if key == "exception" and isinstance(value, str):
        return _clean_text(value, TRACEBACK_CHARACTERS_MAX)
    return _cleaned(value, depth)


def _cleaned(value: object, depth: int) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping() | list() | tuple() | set() | frozenset():
            return _cleaned_container(value, depth) if depth < DEPTH_MAX else "[too deep]"
        case str() | date() | PurePath():
            return _clean_text(str(value), VALUE_CHARACTERS_MAX)
        case BaseException():
            return _clean_text(f"{type(value).__name__}: {value}", VALUE_CHARACTERS_MAX)
        case _:
            # The repr of an event holds a whole mail; nobody may log that by accident.
            return f"<{type(value).__name__}>"


def _cleaned_container(value: Mapping[object, object] | Iterable[object], depth: int) -> object:
    if isinstance(value, Mapping):
        return {str(key): _redacted(str(key), inner, depth + 1) for key, inner in value.items()}
    return [_cleaned(inner, depth + 1) for inner in value]


def _clean_text(text: str, characters_max: int) -> str:
    clean = _URL_PASSWORD.sub(REDACTED, text) if "://" in text else text
    return clean if len(clean) <= characters_max else f"{clean[:characters_max]}..."


def _shared_processors(service: str | None) -> list[structlog.typing.Processor]:
    """What every line passes, whoever wrote it."""

    def with_service(_logger: object, _method: str, event: EventDict) -> EventDict:
        return event if service is None else {"service": service, **event}

    return [
        structlog.contextvars.merge_contextvars,
        with_service,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]


def _formatter(service: str | None, *, pretty: bool, colors: bool) -> logging.Formatter:
    # Plain tracebacks: rich ones print local variables, and those hold secrets and bodies.
    console = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    processors: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact,
        console if pretty else structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared_processors(service), processors=processors
    )
