"""Sets of UIDs: whatever is done with them is what sets of numbers do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.polling.uid_ranges import count, first_uids, joined, ranges_of, read, without, write

UIDS = st.sets(st.integers(1, 40))


@given(UIDS, UIDS)
def test_they_are_sets(left: set[int], right: set[int]) -> None:
    one, other = ranges_of(left), ranges_of(right)
    assert joined(one, other) == ranges_of(left | right)
    assert without(one, other) == ranges_of(left - right)
    assert first_uids(one, 5) == sorted(left)[:5]
    assert count(one) == len(left)
    assert read(write(one)) == one


def test_they_read_as_imap_writes_them() -> None:
    assert write(ranges_of([7, 1, 3, 2])) == "1:3,7"
    assert read("7,3:1") == ((1, 3), (7, 7))


@pytest.mark.parametrize("text", ["x", "1:2:3", "1,-2", "1" * 70_000])
def test_what_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="UID"):
        read(text)
