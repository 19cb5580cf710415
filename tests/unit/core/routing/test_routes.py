"""Which route a mail takes."""

from dataclasses import replace

import pytest

from postlane.core.events.mail import Address
from postlane.core.events.request import MailRequested
from postlane.core.routing.routes import Route, route_of
from unit.core.lane_bench import request

ROUTES = (
    Route(name="bulk", tags=frozenset({"newsletter", "survey"})),
    Route(name="brand", sender_domains=frozenset({"brand.example"})),
    Route(name="inside", recipient_domains=frozenset({"corp.example", "*.corp.example"})),
    Route(name="both", sender_domains=frozenset({"x"}), recipient_domains=frozenset({"y"})),
    Route(name="rest"),
)


def mail(
    author: str = "desk@desk.example", to: tuple[str, ...] = ("a@b.example",), *tags: str
) -> MailRequested:
    return replace(request("t", "e", to), from_address=Address(address=author), tags=tags)


@pytest.mark.parametrize(
    ("asked", "route"),
    [
        (mail(), "rest"),
        (mail("desk@desk.example", ("a@b.example",), "survey", "vip"), "bulk"),
        (mail("desk@Brand.Example"), "brand"),
        (mail("desk@sub.brand.example"), "rest"),
        (mail("desk@brand.example", ("a@b.example",), "newsletter"), "bulk"),
        (mail(to=("a@corp.example", "b@de.corp.example", "c@a.de.corp.example")), "inside"),
        (mail(to=("a@corp.example", "b@elsewhere.example")), "rest"),
        (mail(to=("a@evilcorp.example",)), "rest"),
        (mail("d@x", ("a@y",)), "both"),
        (mail("d@x", ("a@z",)), "rest"),
        (mail("no address"), "rest"),
        (None, "rest"),
    ],
)
def test_the_first_route_that_fits_takes_the_mail(asked: MailRequested | None, route: str) -> None:
    assert route_of(ROUTES, asked) == route


def test_cc_and_bcc_count_as_recipients() -> None:
    inside = mail(to=("a@corp.example",))
    assert route_of(ROUTES, inside) == "inside"
    assert route_of(ROUTES, replace(inside, bcc=(Address(address="b@out.example"),))) == "rest"
    assert route_of(ROUTES, replace(inside, cc=(Address(address="b@out.example"),))) == "rest"


def test_a_route_knows_its_relays_in_order() -> None:
    route = Route(tiers=((("a", 3), ("b", 1)), (("spare", 1),)))
    assert route.relays == ("a", "b", "spare")
    assert route.takes_all
    assert not ROUTES[0].takes_all
