"""Since when mail waits that could go by a relay, and whether it has waited for so long that people should hear why."""

TOLD_SECONDS = 5.0  # a sooner start is no wait that anybody asks about
CALM_SECONDS = 30.0  # a small rate lets mail go again and again: only when it has not had to wait for so long the wait is over


class Waits:
    """One relay's; `now` is a steady clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._started_at = self._slow_at = float("-inf")
        self._told_since: float | None = None

    def tick(self, now: float, *, waiting: bool) -> None:
        """Some time has passed."""
        if not waiting:
            self._since = self._told_since = None
            return
        self._since = now if self._since is None else self._since
        idle_since = max(self._since, self._started_at)
        if now - idle_since >= TOLD_SECONDS:
            self._slow_at = now
            self._told_since = self._since if self._told_since is None else self._told_since
        elif now - self._slow_at > CALM_SECONDS:
            self._told_since = None

    def started(self, now: float) -> None:
        """A mail starts."""
        self._started_at = now

    @property
    def told_since(self) -> float | None:
        """When the wait began that people hear of; None where there is none."""
        return self._told_since
