from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from postlane.core.sharing.purse import Pile, Purse

ACTIONS = st.lists(
    st.tuples(st.sampled_from(["put", "take", "back", "tidy", "tell", "wait"]), st.integers(0, 5)),
    max_size=40,
)


@given(ACTIONS)
def test_a_unit_is_spent_or_returned_but_never_both(  # noqa: C901, PLR0912 - one case per action
    actions: list[tuple[str, int]],
) -> None:
    purse, now, grants, request = Purse(), 0.0, 0, 0
    granted: Counter[int] = Counter()
    spent: Counter[int] = Counter()
    taken = []
    told: dict[int, int] = {}
    for action, count in actions:
        match action:
            case "put":
                grants += 1
                granted[grants] = count
                purse.put(Pile(grants, "mails", count, now + 3.0))
            case "take":
                draws = purse.take({"mails": count}, now)
                for draw in draws or ():
                    spent[draw.grant] += draw.units
                taken += [draws] if draws else []
            case "back" if taken:
                draws = taken.pop()
                for draw in draws:
                    spent[draw.grant] -= draw.units
                purse.put_back(draws, now)
            case "tidy":
                purse.tidy({"mails": count}, now)
            case "tell":
                request += 1
                for part in purse.returned(request):
                    told[part.grant] = max(told.get(part.grant, 0), part.units)
                if count > 2:
                    purse.heard(request, now, 1.0)
            case "wait":
                now += count / 2
    purse.tidy({}, now + 10)
    request += 1
    for part in purse.returned(request):
        told[part.grant] = max(told.get(part.grant, 0), part.units)
    for grant, units in granted.items():
        assert spent[grant] + told.get(grant, 0) <= units
