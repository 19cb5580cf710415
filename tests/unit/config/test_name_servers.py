"""How name servers are written, and which mistakes are named."""

from pathlib import Path

import pytest

from postlane.config.name_servers import read_name_server
from postlane.config.settings import ConfigError, load_settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ("::1", ("::1", 53)),
    ],
)
def test_name_servers(text: str, expected: tuple[str, int]) -> None:
    assert read_name_server(text) == expected


@pytest.mark.parametrize(
    "text", ["", "ns.example.com", "ns.example.com:53", "192.0.2", ":53", "[]:53", "[2001:db8::53]"]
)
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a name server: write an IP address"):
        read_name_server(text)


@pytest.mark.parametrize("text", ["192.0.2.53:0", "[::1]:65536"])
def test_a_port_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="ports go from 1 to 65535"):
        read_name_server(text)


def test_in_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "postlane.toml"
    path.write_text('[outbound]\ndns_servers = ["192.0.2.53", "[::1]:5353"]\n', encoding="utf-8")
    outbound = load_settings(path).outbound
    assert not outbound.check_domains
    assert outbound.name_servers() == (("192.0.2.53", 53), ("::1", 5353))
    path.write_text('[outbound]\ndns_servers = ["resolver"]\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r'outbound\.dns_servers\.0: "resolver" is not a name server'):
        load_settings(path)
