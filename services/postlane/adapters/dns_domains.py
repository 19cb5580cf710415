"""Asks DNS whether the domains of recipients take mail (dnspython): what the answers mean is decided in core.routing.mail_domains."""

import asyncio
import time
from collections.abc import Sequence

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.nameserver
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.resolver
import structlog

from postlane.core.addresses import domain_of
from postlane.core.routing.mail_domains import (
    QUESTIONS,
    REST_SECONDS,
    WITNESS_DOMAIN,
    Conclusion,
    DnsAnswer,
    DomainMemory,
    NameServerRest,
    NoAnswer,
    NoRecords,
    NotKnown,
    Question,
    Records,
    TakesNoMail,
    conclude,
    keep_seconds,
    needs_witness,
    with_witness,
)
from postlane.ports import Clock

LOOKUPS_MAX = 32  # at once, each a socket: a mail may have a thousand recipients
TRIES = 3  # of one question within the time: a datagram may be lost, a name server dead
ERROR_TEXT_MAX = 200

_BELIEVABLE = dns.flags.RA | dns.flags.AA
_SILENCE = NotKnown("the name servers do not answer", silent=True)

log = structlog.get_logger(__name__)

NameServer = tuple[str, int]  # IP address and port


class DnsDomains:
    """A memory in front of one resolver; a domain is asked about once at a time, whoever waits for it.

    `servers` empty = the system's (/etc/resolv.conf, read once). `seconds` limits a lookup and a call alike.
    """

    def __init__(
        self, servers: Sequence[NameServer] = (), seconds: float = 3.0, clock: Clock = time.monotonic
    ) -> None:
        self._resolver = _resolver(servers)
        self._resolver.lifetime = seconds
        self._resolver.timeout = seconds / TRIES
        self._seconds = seconds
        self._clock = clock
        self._memory = DomainMemory()
        self._rest = NameServerRest()
        self._lookups: dict[str, asyncio.Task[Conclusion]] = {}
        self._places = asyncio.Semaphore(LOOKUPS_MAX)
        self._closed = False

    @property
    def servers(self) -> tuple[str, ...]:
        """The name servers, for people."""
        return tuple(
            f"{server.address} port {server.port}"
            if isinstance(server, dns.nameserver.Do53Nameserver)
            else str(server)
            for server in self._resolver.nameservers
        )

    async def check(self, recipients: Sequence[str]) -> dict[str, TakesNoMail]:
        """See `MailDomains`."""
        if self._closed:
            return {}
        domains = {recipient: domain_of(recipient) for recipient in recipients}
        asked = {domain for domain in domains.values() if domain is not None and _is_in_dns(domain)}
        known = {domain: self._memory.recall(domain, self._clock()) for domain in asked}
        lookups = {domain: self._lookup(domain) for domain, kept in known.items() if kept is None}
        if lookups:
            done, _ = await asyncio.wait(lookups.values(), timeout=self._seconds)
            known |= {
                domain: lookup.result()
                for domain, lookup in lookups.items()
                if lookup in done and not lookup.cancelled()
            }
        refused = {domain: found for domain, found in known.items() if isinstance(found, TakesNoMail)}
        return {
            recipient: refused[domain]
            for recipient, domain in domains.items()
            if domain is not None and domain in refused
        }

    async def ask(self, domain: str, question: Question) -> DnsAnswer:
        """One question, within the time. Never raises for what name servers or the network do."""
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._resolver.resolve(
                    f"{domain}.", question.value, raise_on_no_answer=False, search=False
                )
        except dns.resolver.NXDOMAIN as error:
            response = next(iter(error.kwargs["responses"].values()))
            return _no_records(response, exists=False)
        except (dns.exception.Timeout, TimeoutError):
            return NoAnswer(f"no answer to {domain} {question} within {self._seconds:g} s", silent=True)
        except dns.resolver.NoNameservers as error:
            silent = all(response is None for *_, response in error.kwargs["errors"])
            return NoAnswer(_one_line(error), silent)
        except (dns.exception.DNSException, OSError, EOFError) as error:
            return NoAnswer(_one_line(error), silent=False)
        if answer.rrset is None:
            return _no_records(answer.response, exists=True)
        return Records(tuple(_value(record) for record in answer.rrset), answer.chaining_result.minimum_ttl)

    async def close(self) -> None:
        """See `MailDomains`."""
        self._closed = True
        lookups = list(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)

    def _lookup(self, domain: str) -> asyncio.Task[Conclusion]:
        lookup = self._lookups.get(domain)
        if lookup is None:
            lookup = asyncio.create_task(self._find_out(domain))
            self._lookups[domain] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(domain))
        return lookup

    async def _find_out(self, domain: str) -> Conclusion:
        async with self._places:
            if self._closed or self._rest.rests(self._clock()):
                return _SILENCE
            answers: list[DnsAnswer] = []
            try:
                async with asyncio.timeout(self._seconds):
                    conclusion = await self._concluded(domain, answers)
            except TimeoutError:
                conclusion = _SILENCE
            except Exception:  # a fault of ours or the library's must not keep mail from going out
                log.exception("dns_fault", domain=domain)
                conclusion = NotKnown("the lookup failed; see the log")
        now = self._clock()
        silent = isinstance(conclusion, NotKnown) and conclusion.silent
        if self._rest.note(silent=silent, now=now):
            log.warning("dns_silent", servers=self.servers, rest_seconds=REST_SECONDS, reason=_SILENCE.error)
        self._memory.note(domain, conclusion, keep_seconds(conclusion, answers), now)
        return conclusion

    async def _concluded(self, domain: str, answers: list[DnsAnswer]) -> Conclusion:
        for question in QUESTIONS:
            answers.append(await self.ask(domain, question))
            conclusion = conclude(domain, answers)
            if conclusion is None:
                continue
            if needs_witness(conclusion):
                return with_witness(conclusion, await self.ask(WITNESS_DOMAIN, Question.MX))
            return conclusion
        raise AssertionError("the last answer always concludes")


def _resolver(servers: Sequence[NameServer]) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=False)
    if not servers:
        try:
            return dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            servers = [("127.0.0.1", 53)]  # as the system's own resolver does, resolv.conf(5)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in servers]
    return resolver


def _is_in_dns(domain: str) -> bool:
    """Not address literals, and not names without a dot: what a relay makes of those only it knows."""
    return "." in domain and not domain.startswith("[")


def _no_records(response: dns.message.QueryMessage, *, exists: bool) -> DnsAnswer:
    if not response.flags & _BELIEVABLE:
        # A referral: this server neither holds the name nor asks others, so the empty answer says nothing (RFC 2308 section 2.2).
        return NoAnswer("the name server does not resolve for us (recursion not available)", silent=False)
    return NoRecords(exists, response.resolve_chaining().minimum_ttl)


def _value(record: object) -> str:
    if isinstance(record, dns.rdtypes.ANY.MX.MX):
        return record.exchange.to_text(omit_final_dot=True).removesuffix(".")
    return str(record)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:ERROR_TEXT_MAX] or type(error).__name__
