"""Routes in the configuration: what they become, and which mistakes are named."""

from pathlib import Path

import pytest

from postlane.config.settings import ConfigError, Settings, load_settings
from postlane.core.routing.routes import Route

RELAYS = '[relays.main]\nhost = "a"\n[relays.backup]\nhost = "b"\n'


def load(folder: Path, text: str) -> Settings:
    path = folder / "postlane.toml"
    path.write_text(RELAYS + text, encoding="utf-8")
    return load_settings(path)


def test_without_routes_the_relays_are_used_in_their_order(tmp_path: Path) -> None:
    (route,) = load(tmp_path, '[outbound]\non_dead = "hold"\n').mail_routes()
    assert route == Route(tiers=((("main", 1),), (("backup", 1),)), hold_dead=True)


def test_routes_are_tried_in_their_order(tmp_path: Path) -> None:
    routes = load(
        tmp_path,
        """
        [routes.bulk]
        relays = [{ main = 3, backup = 1 }]
        tags = ["newsletter"]
        sender_domains = ["Bücher.example"]
        recipient_domains = ["*.Corp.example"]
        on_dead = "hold"
        [routes.rest]
        relays = ["main", "backup"]
        """,
    ).mail_routes()
    bulk, rest = routes
    assert bulk == Route(
        name="bulk",
        tiers=((("main", 3), ("backup", 1)),),
        tags=frozenset({"newsletter"}),
        sender_domains=frozenset({"xn--bcher-kva.example"}),
        recipient_domains=frozenset({"*.corp.example"}),
        hold_dead=True,
    )
    assert rest == Route(name="rest", tiers=((("main", 1),), (("backup", 1),)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '[routes.a]\nrelays = ["nope"]',
            'routes.a.relays: no relay is called "nope"; known are: main, backup',
        ),
        ("[routes.a]\nrelays = []", "routes.a.relays: "),
        ("[routes.a]\nrelays = [{}]", "routes.a.relays: {} names no relay"),
        ("[routes.a]\nrelays = [{ main = 0 }]", "routes.a.relays"),
        ('[routes.a]\nrelays = ["main", { main = 2 }]', 'relay "main" stands there twice'),
        ('[routes.a]\nrelays = ["main"]\ntags = ["t"]', "routes.a: the last route must take all mail"),
        (
            '[routes.a]\nrelays = ["main"]\n[routes.b]\nrelays = ["main"]',
            "routes.a: it takes all mail, so the routes behind it never get any",
        ),
        (
            '[routes.a]\nrelays = ["main"]\nsender_domains = ["x@y"]',
            '"x@y" is not a domain such as example.com',
        ),
        ('[routes.a]\nrelays = ["main"]\nrelay = "x"', "unknown key routes.a.relay; did you mean relays?"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    assert words in str(refused.value)
