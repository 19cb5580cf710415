"""What every MailDomains must do; a subclass gives a `rig`, and one that does not wait long."""

import asyncio
from dataclasses import dataclass

import pytest

from fakes.zone_script import ZoneScript
from postlane.core.routing.mail_domains import TakesNoMail
from postlane.ports import MailDomains

NOWHERE = TakesNoMail("domain_unknown", "nowhere.example does not exist")
EMPTY = TakesNoMail("domain_unknown", "empty.example has neither MX nor address records")


@dataclass(slots=True)
class Rig:
    """The port and what its name server knows."""

    domains: MailDomains
    script: ZoneScript


class MailDomainsContract:
    """Run by `Test...` classes, one per implementation."""

    @pytest.mark.parametrize(
        "records",
        [
            {"MX": ["10 mx1.x.example.", "20 mx2.x.example."]},
            {"MX": ["0 .", "10 mx.x.example."]},
            {"A": ["192.0.2.1"]},
            {"AAAA": ["2001:db8::1"]},
        ],
    )
    async def test_mail_has_somewhere_to_go(self, rig: Rig, records: dict[str, list[str]]) -> None:
        rig.script.records["x.example"] = records
        assert await rig.domains.check(["a@x.example"]) == {}
        assert rig.script.names_asked()[0] == "x.example"

    async def test_a_null_mx_takes_no_mail(self, rig: Rig) -> None:
        rig.script.records["no.example"] = {"MX": ["0 ."], "A": ["192.0.2.1"]}
        words = "no.example takes no mail and says so (null MX, RFC 7505)"
        assert await rig.domains.check(["a@no.example"]) == {
            "a@no.example": TakesNoMail("domain_takes_no_mail", words)
        }

    async def test_a_name_that_does_not_exist(self, rig: Rig) -> None:
        assert await rig.domains.check(["a@nowhere.example"]) == {"a@nowhere.example": NOWHERE}

    async def test_a_name_without_mx_and_addresses(self, rig: Rig) -> None:
        rig.script.records["empty.example"] = {"TXT": ['"v=spf1 -all"']}
        assert await rig.domains.check(["a@empty.example"]) == {"a@empty.example": EMPTY}

    @pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"])
    async def test_a_name_server_with_a_fault_stops_nothing(self, rig: Rig, rcode: str) -> None:
        rig.script.rcodes["broken.example"] = rcode
        assert await rig.domains.check(["a@broken.example"]) == {}
        assert "broken.example" in rig.script.names_asked()

    async def test_a_name_server_that_says_nothing_stops_nothing(self, impatient_rig: Rig) -> None:
        impatient_rig.script.silent.add("silent.example")
        assert await impatient_rig.domains.check(["a@silent.example"]) == {}
        assert "silent.example" in impatient_rig.script.names_asked()

    async def test_a_name_server_that_asks_nobody_else_stops_nothing(self, rig: Rig) -> None:
        rig.script.resolves = False
        assert await rig.domains.check(["a@nowhere.example"]) == {}

    async def test_a_name_server_that_denies_the_world_stops_nothing(self, rig: Rig) -> None:
        del rig.script.records["com"]
        assert await rig.domains.check(["a@nowhere.example"]) == {}

    async def test_aliases_are_followed(self, rig: Rig) -> None:
        rig.script.records |= {
            "alias.example": {"CNAME": ["real.example."]},
            "real.example": {"MX": ["10 mx.real.example."]},
            "dangling.example": {"CNAME": ["nowhere.example."]},
            "shut.example": {"CNAME": ["no.example."]},
            "no.example": {"MX": ["0 ."]},
        }
        refused = await rig.domains.check(["a@alias.example", "a@dangling.example", "a@shut.example"])
        assert {address: refusal.cause for address, refusal in refused.items()} == {
            "a@dangling.example": "domain_unknown",
            "a@shut.example": "domain_takes_no_mail",
        }

    async def test_each_recipient_has_its_own_answer(self, rig: Rig) -> None:
        rig.script.records |= {"x.example": {"A": ["192.0.2.1"]}, "empty.example": {"TXT": ['"x"']}}
        recipients = ["a@x.example", "B@Nowhere.Example", "c@nowhere.example", "d@empty.example"]
        assert await rig.domains.check(recipients) == {
            "B@Nowhere.Example": NOWHERE,
            "c@nowhere.example": NOWHERE,
            "d@empty.example": EMPTY,
        }

    @pytest.mark.parametrize(
        "recipient", ["a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "root@localhost", "no address", "a@", ""]
    )
    async def test_what_dns_has_no_say_in_is_not_asked(self, rig: Rig, recipient: str) -> None:
        assert await rig.domains.check([recipient]) == {}
        assert rig.script.asked == []

    async def test_other_scripts_are_asked_about_in_ascii(self, rig: Rig) -> None:
        rig.script.records["xn--bcher-kva.example"] = {"MX": ["10 mx.example."]}
        refused = await rig.domains.check(["jürgen@bücher.example", "a@straße.example"])
        assert {address: refusal.words for address, refusal in refused.items()} == {
            "a@straße.example": "xn--strae-oqa.example does not exist"
        }

    async def test_a_burst_to_one_domain_costs_one_lookup(self, rig: Rig) -> None:
        rig.script.records["x.example"] = {"MX": ["10 mx.x.example."]}
        checks = (rig.domains.check([f"a{number}@x.example"]) for number in range(3000))
        assert await asyncio.gather(*checks) == [{}] * 3000
        assert await rig.domains.check(["z@X.EXAMPLE"]) == {}
        assert rig.script.names_asked() == ["x.example"]

    async def test_a_refusal_is_remembered_too(self, rig: Rig) -> None:
        for _ in range(3):
            assert await rig.domains.check(["a@nowhere.example"]) == {"a@nowhere.example": NOWHERE}
        assert rig.script.names_asked() == ["nowhere.example"] * 3 + ["com"]

    async def test_many_domains_at_once(self, rig: Rig) -> None:
        rig.script.records |= {f"d{number}.example": {"A": ["192.0.2.1"]} for number in range(0, 200, 2)}
        refused = await rig.domains.check([f"a@d{number}.example" for number in range(200)])
        assert set(refused) == {f"a@d{number}.example" for number in range(1, 200, 2)}

    async def test_nobody_at_all(self, rig: Rig) -> None:
        assert await rig.domains.check([]) == {}

    async def test_once_closed_it_names_nobody(self, rig: Rig) -> None:
        await rig.domains.check(["a@nowhere.example"])
        await rig.domains.close()
        await rig.domains.close()
        assert await rig.domains.check(["a@nowhere.example", "a@other.example"]) == {}
        assert "other.example" not in rig.script.names_asked()
