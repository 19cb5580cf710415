"""The folders that this process polls at the moment."""

from collections.abc import Iterable

from postlane.core.alerts.mailbox_conditions import FolderSeen
from postlane.inbound.folder_watch import FolderWatch


class Board:
    """Touched on the event loop alone."""

    def __init__(self) -> None:
        self._watches: dict[tuple[str, str], FolderWatch] = {}

    def put(self, watches: Iterable[FolderWatch]) -> None:
        """These are polled from now on; a partition that is taken over anew replaces its own."""
        self._watches |= {(one.identity.mailbox, one.identity.folder): one for one in watches}

    def seen(self) -> list[FolderSeen]:
        """How each of them stands; what is polled elsewhere is forgotten."""
        self._watches = {place: watch for place, watch in self._watches.items() if not watch.gone}
        return [watch.seen() for watch in self._watches.values()]
