"""A budget's ledger as the records of mail.relays show it: what all senders have been granted counts as used."""

from collections.abc import Mapping

from postlane.core.limits.limit import Limit, Plain
from postlane.core.limits.microseconds import MICRO
from postlane.core.limits.rolling_ledger import BUCKETS
from postlane.core.sharing.terms import Budget, Terms
from postlane.core.sharing.windows import Span


def fill_ledger(ledger: Limit, budget: Budget, used: Mapping[Span, int], terms: Terms, now_us: int) -> Limit:
    """Enter the units of each span into a new ledger of this budget, and return it."""
    if budget.window.reach_seconds:
        width_us = round(budget.window.length_seconds * MICRO) // BUCKETS
        # Granted at the end of a span, they may be spent a lease later.
        ends = {span: (span.ends + terms.free_seconds) * MICRO for span in used}
        buckets = [[int(-(-ends[span] // width_us)), units] for span, units in used.items() if units > 0]
        ledger.restore({"in_flight": 0, "buckets": buckets}, now_us)
    else:
        span = budget.window.span(now_us / MICRO)
        state: Plain = {"in_flight": 0, "used": max(0, used.get(span, 0)), "end_us": span.ends * MICRO}
        ledger.restore(state, now_us)
    return ledger
