"""How long to stay away from a server that fails; jitter is an argument, 0 to 1."""

FIRST_SECONDS = 1.0
SECONDS_MAX = 60.0
AUTH_FIRST_SECONDS = 15.0  # accounts are locked by quick repeated logins
AUTH_SECONDS_MAX = 300.0
DOUBLINGS_MAX = 20  # beyond it every delay is at its maximum anyway


def reconnect_seconds(failures: int, jitter: float, *, auth: bool = False) -> float:
    """The wait after the n-th failure in a row (from 1): doubled each time up to a limit, and spread over its upper half."""
    first, limit = (AUTH_FIRST_SECONDS, AUTH_SECONDS_MAX) if auth else (FIRST_SECONDS, SECONDS_MAX)
    longest = min(first * 2.0 ** min(max(failures - 1, 0), DOUBLINGS_MAX), limit)
    return float(longest * (0.5 + 0.5 * jitter))
