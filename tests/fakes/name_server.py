"""A name server on a free port of loopback, by datagram and by connection, that answers as a ZoneScript says."""

import asyncio
import contextlib
from itertools import pairwise

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from fakes.zone_script import ZoneScript

PORT_TRIES = 20
IN = dns.rdataclass.IN


class NameServer:
    """Started in the running loop; `address` is what a resolver is told."""

    def __init__(self, script: ZoneScript) -> None:
        self.script = script
        self.address = ("127.0.0.1", 0)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on one port number for both."""
        loop = asyncio.get_running_loop()
        for _ in range(PORT_TRIES):
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
            self.address = self._server.sockets[0].getsockname()[:2]
            try:
                self._transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=self.address
                )
            except OSError:  # somebody's datagrams go to this port
                self._server.close()
            else:
                return
        raise OSError("no port is free for both")

    async def stop(self) -> None:
        """Stop listening and forget what was not answered."""
        self._transport.close()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self, wire: bytes, peer: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
        """Answer a datagram, sometime."""

        async def answer() -> None:
            if response := await self._answer(wire, "udp"):
                transport.sendto(response, peer)

        task = asyncio.get_running_loop().create_task(answer())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            length = int.from_bytes(await reader.readexactly(2), "big")
            if response := await self._answer(await reader.readexactly(length), "tcp"):
                writer.write(len(response).to_bytes(2, "big") + response)
                await writer.drain()
        writer.close()

    async def _answer(self, wire: bytes, way: str) -> bytes | None:
        query = dns.message.from_wire(wire)
        assert isinstance(query, dns.message.QueryMessage)
        asked = query.question[0]
        name = asked.name.to_text(omit_final_dot=True)
        self.script.asked.append((name, dns.rdatatype.to_text(asked.rdtype), way))
        if self.script.waits_for is not None:
            await self.script.waits_for.wait()
        if name in self.script.silent:
            return None
        response = dns.message.make_response(query, recursion_available=self.script.resolves)
        assert isinstance(response, dns.message.QueryMessage)
        if name in self.script.rcodes:
            response.set_rcode(dns.rcode.from_text(self.script.rcodes[name]))
        elif way == "udp" and name in self.script.truncated:
            response.flags |= dns.flags.TC
        else:
            self._fill(response, name, asked.rdtype)
        return response.to_wire()

    def _fill(self, response: dns.message.QueryMessage, name: str, rdtype: dns.rdatatype.RdataType) -> None:
        ttl, chain = self.script.ttl_seconds, self.script.chain(name)
        response.answer += [
            dns.rrset.from_text(f"{here}.", ttl, IN, "CNAME", f"{there}.") for here, there in pairwise(chain)
        ]
        known = self.script.records.get(chain[-1])
        if known is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        found = (known or {}).get(dns.rdatatype.to_text(rdtype))
        if found:
            response.answer.append(dns.rrset.from_text(f"{chain[-1]}.", ttl, IN, rdtype, *found))
        elif self.script.resolves:
            soa = f"ns. postmaster. 1 3600 600 86400 {ttl}"
            response.authority.append(dns.rrset.from_text(".", ttl, IN, "SOA", soa))


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass, so no isinstance

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._server.take(data, addr, self._transport)
