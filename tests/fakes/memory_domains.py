"""MailDomains without a network, told by a ZoneScript what name servers know."""

import asyncio
from collections.abc import Sequence

from fakes.zone_script import ZoneScript
from postlane.core.addresses import domain_of
from postlane.core.routing.mail_domains import (
    QUESTIONS,
    WITNESS_DOMAIN,
    Conclusion,
    DnsAnswer,
    NoAnswer,
    NoRecords,
    Question,
    Records,
    TakesNoMail,
    conclude,
    needs_witness,
    with_witness,
)


class MemoryDomains:
    """Remembers for ever what it has concluded."""

    def __init__(self, script: ZoneScript) -> None:
        self._script = script
        self._known: dict[str, Conclusion] = {}
        self._closed = False

    async def check(self, recipients: Sequence[str]) -> dict[str, TakesNoMail]:
        """Look into the script, one question after the other."""
        refused: dict[str, TakesNoMail] = {}
        for recipient in recipients:
            domain = domain_of(recipient)
            if domain is None or "." not in domain or domain.startswith("["):
                continue
            if domain not in self._known and not self._closed:
                self._known[domain] = self._conclusion(domain)
            found = self._known.get(domain)
            if isinstance(found, TakesNoMail) and not self._closed:
                refused[recipient] = found
        await asyncio.sleep(0)
        return refused

    async def close(self) -> None:
        """Name nobody from now on."""
        self._closed = True

    def _conclusion(self, domain: str) -> Conclusion:
        answers: list[DnsAnswer] = []
        for question in QUESTIONS:
            answers.append(self._answer(domain, question))
            if conclusion := conclude(domain, answers):
                break
        assert conclusion is not None
        if needs_witness(conclusion):
            return with_witness(conclusion, self._answer(WITNESS_DOMAIN, Question.MX))
        return conclusion

    def _answer(self, name: str, question: Question) -> DnsAnswer:
        script = self._script
        script.asked.append((name, question.value, "memory"))
        if name in script.silent:
            return NoAnswer("no answer", silent=True)
        if name in script.rcodes:
            return NoAnswer(script.rcodes[name], silent=False)
        end = script.chain(name)[-1]
        found = script.records.get(end, {}).get(question.value)
        if found is None:
            if not script.resolves:
                return NoAnswer("a referral", silent=False)
            return NoRecords(exists=end in script.records, ttl_seconds=script.ttl_seconds)
        values = tuple(text.split()[-1].removesuffix(".") for text in found)
        return Records(values, script.ttl_seconds)
