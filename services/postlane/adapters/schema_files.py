"""Find the shipped Avro schemas: package data in an installed wheel, `schemas/` at the top of a checkout."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
PLACES = (PACKAGE / "schemas", PACKAGE.parents[1] / "schemas")  # wheel, checkout
FILE_NAME = re.compile(r"(?P<stem>[a-z][a-z_]*)\.v(?P<version>[1-9][0-9]*)\.avsc")


class SchemasMissing(Exception):
    """The shipped schemas are not there or cannot be read; the text says where and what to do."""


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """One version of one record; `record` is the full name in the file, such as `postlane.MailRequested`."""

    record: str
    version: int
    text: str

    @property
    def document(self) -> dict[str, Any]:
        """The schema as JSON data, fresh for every caller because parsers write into it."""
        document: dict[str, Any] = json.loads(self.text)
        return document


def schema_directory() -> Path:
    """The directory with *.avsc and topics.toml. Raises SchemasMissing."""
    for place in PLACES:
        if (place / "topics.toml").is_file():
            return place
    places = " and ".join(str(place) for place in PLACES)
    raise SchemasMissing(f"no schemas in {places}: reinstall postlane, or run it from a complete checkout")


def load_schema_files(directory: Path | None = None) -> list[SchemaFile]:
    """Every version of every record, ordered by record and version. Raises SchemasMissing."""
    place = schema_directory() if directory is None else directory
    files = sorted(_read_files(place), key=lambda file: (file.record, file.version))
    if not files:
        raise SchemasMissing(
            f"no *.avsc files in {place}: reinstall postlane, or run it from a complete checkout"
        )
    return files


def _read_files(directory: Path) -> Iterator[SchemaFile]:
    for path in directory.glob("*.avsc"):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise SchemasMissing(f"{path}: a schema file is named like mail_requested.v1.avsc")
        try:
            text = path.read_text(encoding="utf-8")
            document = json.loads(text)
            record = f"{document['namespace']}.{document['name']}"
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SchemasMissing(f"{path}: not a readable Avro schema: {error}") from None
        expected = match["stem"].title().replace("_", "")
        if document["name"] != expected:
            raise SchemasMissing(f"{path}: must hold the record {expected}, holds {document['name']}")
        yield SchemaFile(record, int(match["version"]), text)
