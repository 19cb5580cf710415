"""How name servers are written in the configuration."""

import re
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator

DNS_PORT = 53

_WITH_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<v4>[^:\[\]]*)):(?P<port>\d{1,5})")


def read_name_server(text: str) -> tuple[str, int]:
    """IP address and port of `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53` or `[2001:db8::53]:5353`. Raises ValueError."""
    found = _WITH_PORT.fullmatch(text)
    host, port = (found["v6"] or found["v4"] or "", int(found["port"])) if found else (text, DNS_PORT)
    try:
        address = ip_address(host)
    except ValueError:
        raise ValueError(
            f'"{text}" is not a name server: write an IP address, such as 192.0.2.53 or [2001:db8::53]:5353'
        ) from None
    if not 1 <= port <= 65535:
        raise ValueError(f'"{text}": ports go from 1 to 65535')
    return str(address), port


def _checked(text: str) -> str:
    read_name_server(text)
    return text


NameServer = Annotated[str, AfterValidator(_checked)]
