"""How the OAuth 2 grants of the mailboxes stand, for metrics and alarms."""

from postlane.adapters.metrics import Metrics
from postlane.adapters.token_source import Standing
from postlane.core.alerts.mailbox_conditions import GrantSeen
from postlane.core.metrics import MAILBOX_GRANT_ENDS_AT, MAILBOX_GRANT_OK


class Grants:
    """Of the mailboxes that this process has had sessions to."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._standings: dict[str, Standing] = {}

    def note(self, mailbox: str, standing: Standing) -> None:
        """A grant stands otherwise than before."""
        self._standings[mailbox] = standing
        self._metrics.gauge(MAILBOX_GRANT_OK, mailbox=mailbox).set(not standing.broken)
        if standing.ends_at is not None:
            self._metrics.gauge(MAILBOX_GRANT_ENDS_AT, mailbox=mailbox).set(standing.ends_at)

    def seen(self) -> list[GrantSeen]:
        """For alarms."""
        return [
            GrantSeen(
                mailbox=mailbox,
                trouble=standing.words if standing.broken else None,
                days_left=standing.days_left if standing.warns else None,
            )
            for mailbox, standing in self._standings.items()
        ]
