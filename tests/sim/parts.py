"""All parts of the simulation."""

from typing import Any

from sim.governor.planted import PLANTED as GOVERNOR_PLANTED
from sim.governor.planted import Planted as GovernorPlanted
from sim.governor.world import World as GovernorWorld
from sim.lanes.hooks import Planted as LanesPlanted
from sim.lanes.planted import PLANTED as LANES_PLANTED
from sim.lanes.world import World as LanesWorld
from sim.leases.hooks import Planted as LeasesPlanted
from sim.leases.planted import PLANTED as LEASES_PLANTED
from sim.leases.world import World as LeasesWorld
from sim.part import Part

LANES: Part[LanesPlanted] = Part(
    name="lanes", world=LanesWorld, sound=LanesPlanted, planted=LANES_PLANTED, steps=(60, 120, 300)
)
GOVERNOR: Part[GovernorPlanted] = Part(
    name="governor",
    world=GovernorWorld,
    sound=GovernorPlanted,
    planted=GOVERNOR_PLANTED,
    steps=(60, 200, 500),
)
LEASES: Part[LeasesPlanted] = Part(
    name="leases", world=LeasesWorld, sound=LeasesPlanted, planted=LEASES_PLANTED, steps=(60, 150, 400)
)
PARTS: tuple[Part[Any], ...] = (LANES, GOVERNOR, LEASES)
