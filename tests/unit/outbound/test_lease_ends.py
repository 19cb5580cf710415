"""A lease that ends between two questions: whatever the first answer was, the last one counts."""

import time
from pathlib import Path

import pytest

from fakes.memory_sink import MemorySink
from postlane.adapters.blob_directory import BlobDirectory
from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.events.status import Origin
from postlane.core.limits.circuit import CircuitPolicy, Trip
from postlane.core.limits.governor import Governor, GovernorPolicy
from postlane.core.limits.held_senders import HeldSenders
from postlane.core.limits.permission import Ending, Hold, Ticket
from postlane.core.limits.share import Slowness
from postlane.core.routing.routes import Route
from postlane.core.routing.safety import Safety
from postlane.core.sending.dead_limit import DeadLimit, DeadLimitPolicy
from postlane.core.sending.lane_mail import Attempt, Content
from postlane.core.sending.screening import screening
from postlane.core.ticket_marks import SigningKeys
from postlane.core.writing.envelope_sender import SenderPolicy
from postlane.core.writing.mime_build import BuildPolicy
from postlane.outbound.relay_board import RelayBoard
from postlane.outbound.relay_desk import DeskParts, RelayDesk
from unit.core.lane_bench import request


class EndingShare:
    """A lease for one connection that ends after so many questions, and lets nothing start then."""

    round = 0

    def __init__(self, questions: int) -> None:
        self.left = questions

    def connections(self) -> int:
        self.left -= 1
        return int(self.left >= 0)

    def trip(self) -> Trip | None:
        return None

    def may_probe(self) -> bool:
        return False

    def absence(self, now: float) -> Hold | None:
        del now
        return None

    def slowness(self, now: float) -> Slowness | None:
        del now
        return None

    def started(self, ticket: Ticket) -> None:
        assert self.left >= 0, f"{ticket} starts without a lease"

    def ended(self, ticket: Ticket, ending: Ending) -> None:
        """Nothing to be kept."""


def board_of(share: EndingShare, directory: Path) -> RelayBoard:
    policy = GovernorPolicy(connections=1, circuit=CircuitPolicy(hold_seconds=1.0, hold_seconds_max=1.0))
    keys = SigningKeys(active="1", keys={"1": b"k" * 32}, domain="example.com")
    parts = DeskParts(
        governor=Governor("r", policy, (), share),
        senders=HeldSenders(1.0),
        limit=DeadLimit(DeadLimitPolicy(10, 0.5)),
        sink=MemorySink(),
        blobs=BlobDirectory(directory),
        classify=load_classifier().classify,
        build=BuildPolicy(keys=keys),
        envelope=SenderPolicy(keys=keys),
        screen=screening(Safety(), lambda _address: None),
    )
    return RelayBoard({"r": RelayDesk(parts)}, (Route(tiers=((("r", 1),),)),))


@pytest.mark.parametrize("questions", range(5))
def test_a_mail_starts_with_a_lease_or_waits(questions: int, tmp_path: Path) -> None:
    board = board_of(EndingShare(questions), tmp_path)
    (route,) = board.routes
    mail = Attempt(
        origin=Origin("t", 0),
        content=Content(value=None, headers=(), request=request("t", "e")),
        attempt=1,
        remaining=None,
        route=route,
    )
    errand = board.begin(mail, time.time())
    assert (errand is not None) is (questions >= 2)
    assert board.in_flight == board.started == int(questions >= 2)
