"""The relay's slots come back, however an attempt ends."""

from collections.abc import Sequence
from pathlib import Path

from postlane.core.sending.rest import RestPolicy
from postlane.ports import LogRecord
from unit.outbound.sender_rig import CONNECTIONS, Site, running, until


async def test_an_attempt_that_ends_before_it_began_gives_its_slot_back(tmp_path: Path) -> None:
    """A sender that was stopped for long hears of its mails and of their loss in one breath."""

    def lose_the_first(site: Site) -> None:
        sender, fetched, started = site.sender, site.sender.fetched, [0]

        def fetch_and_lose(partition: int, session: int, records: Sequence[LogRecord]) -> None:
            fetched(partition, session, records)
            if not started[0]:
                started[0] = sender.parts.relays.in_flight
                sender.lost([partition])
                sender.assigned([partition])

        sender.fetched = fetch_and_lose  # type: ignore[method-assign]
        site.produce(*(f"t{number}" for number in range(2 * CONNECTIONS)))

    async with running(tmp_path, RestPolicy(), prepare=lose_the_first) as site:
        await until(lambda: len(site.ends()) == 2 * CONNECTIONS)
        assert site.sender.parts.relays.in_flight == 0
