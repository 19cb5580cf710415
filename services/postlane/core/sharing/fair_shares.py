"""Max-min fairness in whole units: nobody gets more than he wants, and nobody could get more without taking from somebody who has less."""

from collections.abc import Mapping


def fair_shares(total: int, wants: Mapping[str, int], turn: int = 0) -> dict[str, int]:
    """Share `total` out. What does not divide evenly goes to those whose `turn` it is, so that over the turns everybody has his.

    The result sums up to the smaller of `total` and all wants.
    """
    names = sorted(wants)
    turn = turn % len(names) if names else 0
    order = names[turn:] + names[:turn]
    shares = dict.fromkeys(order, 0)
    left = max(0, total)
    hungry = [name for name in order if wants[name] > 0]
    while left and hungry:
        even, rest = divmod(left, len(hungry))
        for place, name in enumerate(hungry):
            share = min(even + (1 if place < rest and not even else 0), wants[name] - shares[name])
            shares[name] += share
            left -= share
        hungry = [name for name in hungry if shares[name] < wants[name]]
    return shares
