"""Every test that docs/guarantees.md names as proof is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROOFS = re.findall(
    r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
)


def test_there_are_proofs() -> None:
    assert len(PROOFS) > 20


@pytest.mark.parametrize(("file", "function"), PROOFS)
def test_the_named_test_exists(file: str, function: str) -> None:
    assert re.search(rf"^(async )?def {function}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
