from hypothesis import given
from hypothesis import strategies as st

from postlane.core.sharing.fair_shares import fair_shares

WANTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(0, 50), max_size=8)


@given(total=st.integers(-5, 120), wants=WANTS, turn=st.integers(0, 100))
def test_shares_are_max_min_fair(total: int, wants: dict[str, int], turn: int) -> None:
    shares = fair_shares(total, wants, turn)
    assert sum(shares.values()) == min(max(0, total), sum(wants.values()))
    assert all(0 <= shares[name] <= wants[name] for name in wants)
    # Whoever wants more has at most one unit less than anybody else.
    largest = max(shares.values(), default=0)
    assert all(shares[name] >= largest - 1 for name in wants if shares[name] < wants[name])


@given(wants=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5), min_size=1))
def test_over_the_turns_everybody_has_his(wants: dict[str, int]) -> None:
    served = {
        name for turn in range(len(wants)) for name, share in fair_shares(1, wants, turn).items() if share
    }
    assert served == set(wants)
