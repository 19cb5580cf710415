"""The MailDomains contract, on the fake and on the real adapter against a real little name server."""

from collections.abc import AsyncIterator

import pytest

from contract.mail_domains_contract import MailDomainsContract, Rig
from fakes.memory_domains import MemoryDomains
from fakes.name_server import NameServer
from fakes.zone_script import world
from postlane.adapters.dns_domains import DnsDomains


class TestMemoryDomains(MailDomainsContract):
    @pytest.fixture
    def rig(self) -> Rig:
        script = world()
        return Rig(MemoryDomains(script), script)

    @pytest.fixture
    def impatient_rig(self, rig: Rig) -> Rig:
        return rig


class TestDnsDomains(MailDomainsContract):
    @pytest.fixture
    async def server(self) -> AsyncIterator[NameServer]:
        server = NameServer(world())
        await server.start()
        yield server
        await server.stop()

    @pytest.fixture
    async def rig(self, server: NameServer) -> AsyncIterator[Rig]:
        domains = DnsDomains([server.address], seconds=60.0)
        yield Rig(domains, server.script)
        await domains.close()

    @pytest.fixture
    async def impatient_rig(self, server: NameServer) -> AsyncIterator[Rig]:
        domains = DnsDomains([server.address], seconds=0.5)
        yield Rig(domains, server.script)
        await domains.close()
