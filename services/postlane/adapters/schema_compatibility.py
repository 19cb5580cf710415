"""FULL_TRANSITIVE: every version of a record can read what every other version wrote, in both directions.

`python -m postlane.adapters.schema_compatibility [DIRECTORY]` checks the shipped schemas or those of a directory. It
needs Apache's `avro` package (extra `dev`): its verdict, not ours or our codec's, is what other languages live by.
"""

import sys
from collections.abc import Sequence
from itertools import groupby, permutations
from pathlib import Path
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException
from avro.schema import Schema, parse

from postlane.adapters.schema_files import SchemaFile, SchemasMissing, load_schema_files

_CHECKER: Any = ReaderWriterCompatibilityChecker  # it carries no types


def incompatibilities(files: Sequence[SchemaFile]) -> list[str]:
    """One line for each version that cannot read another of its record; empty when all is well."""
    faults: list[str] = []
    ordered = sorted(files, key=lambda file: (file.record, file.version))
    for record, group in groupby(ordered, key=lambda file: file.record):
        parsed: dict[int, Schema] = {}
        for file in group:
            try:
                parsed[file.version] = parse(file.text)
            except AvroException as error:
                faults.append(f"{record} v{file.version}: no valid Avro schema: {error}")
        for (reader, reads), (writer, writes) in permutations(parsed.items(), 2):
            result = _CHECKER().get_compatibility(reads, writes)
            if result.compatibility is not SchemaCompatibilityType.compatible:
                where = ", ".join(sorted(result.locations))
                what = "; ".join(sorted(result.messages))
                faults.append(f"{record}: v{reader} cannot read what v{writer} wrote: {what} at {where}")
    return faults


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong; 0 only when nothing is."""
    try:
        files = load_schema_files(Path(arguments[0]) if arguments else None)
    except SchemasMissing as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    faults = incompatibilities(files)
    for fault in faults:
        print(fault, file=sys.stderr)  # noqa: T201
    if not faults:
        print(f"{len(files)} schema versions are FULL_TRANSITIVE compatible")  # noqa: T201
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
