"""When a grant dies of age, where the provider tells, and when people are to be warned.

Some refresh tokens live long and once (Google: until consent must be given anew); others live for half an hour and longer with each
renewal (Keycloak). Only the first kind is worth a warning, so the end that is told now is compared with the end told before.
"""

from dataclasses import dataclass

DAY_SECONDS = 86_400.0
WARN_DAYS = 14.0
ROUNDING_SECONDS = 2.0  # an end is told as a whole number of seconds from now


@dataclass(frozen=True, slots=True)
class GrantExpiry:
    """`ends_at` and `told_at` in seconds since 1970; `moves`: each renewal puts the end off."""

    ends_at: float
    told_at: float
    moves: bool

    def days_left(self, now: float) -> float:
        """Days until the grant must be given anew by a person; 0 where that is over."""
        return max(0.0, (self.ends_at - now) / DAY_SECONDS)

    def warns(self, now: float) -> bool:
        """Whether people should act now."""
        return not self.moves and self.days_left(now) <= WARN_DAYS


def told(before: GrantExpiry | None, grant_seconds: float, now: float, *, rotated: bool) -> GrantExpiry:
    """What is known after a renewal. `rotated`: a new refresh token came with it, which for a first time is all there is to go by."""
    ends_at = now + grant_seconds
    if before is None:
        return GrantExpiry(ends_at, now, rotated)
    put_off = max(ROUNDING_SECONDS, (now - before.told_at) / 2)
    return GrantExpiry(ends_at, now, ends_at - before.ends_at > put_off)
