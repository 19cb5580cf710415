"""Mail addresses as they go over the wire: a checked local part, the domain in ASCII.

A domain is written by IDNA 2008 with the mapping of UTS 46 (RFC 5891): unlike the standard library's older codec, which turns straße.de
into another domain, strasse.de. A local part may be non-ASCII; such mail needs a relay with SMTPUTF8 (RFC 6531), and so stays as it is here.
"""

import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address

import idna

LOCAL_PART_MAX = 64  # octets, RFC 5321 section 4.5.3.1.1
ADDRESS_MAX = 254  # octets: RFC 5321 section 4.5.3.1.3 less the angle brackets
DOMAIN_MAX = 253  # RFC 1035 section 2.3.4, without the root's empty label

# RFC 5322 section 3.2.3 with the non-ASCII of RFC 6532 section 3.2; no-break and other blanks are left out, they are mistakes.
_ATOM = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\xa0\s\ufeff\u200b])+"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])+"')
_ESCAPED = re.compile(r"\\(.)")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def wire_address(address: str) -> str | None:
    """The addr-spec `local@domain` with its domain in lower-case ASCII; None where it is no address."""
    local, at, domain = address.rpartition("@")
    if not at or not (_DOT_ATOM.fullmatch(local) or _QUOTED.fullmatch(local)):
        return None
    wire_domain = _wire_domain(domain)
    try:
        octets = len(local.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return None
    if wire_domain is None or octets > LOCAL_PART_MAX or octets + 1 + len(wire_domain) > ADDRESS_MAX:
        return None
    return f"{local}@{wire_domain}"


def domain_of(address: str) -> str | None:
    """The domain of an address in lower-case ASCII; None where it is no address."""
    wire = wire_address(address)
    return None if wire is None else wire.rpartition("@")[2]


def mailbox_key(address: str) -> str | None:
    """One form for every spelling of a mailbox, for comparing alone; None where it is no address.

    Local parts are compared without regard to case. RFC 5321 section 2.4 leaves case to the receiving host, but hosts that tell Kim from kim
    are not found any more: to mail somebody who must not be mailed is the likelier mistake. Quotes that need not be there are
    dropped (RFC 5321 section 4.1.2), composed and decomposed letters are one (RFC 6532 section 3.1). A +tag counts.
    """
    wire = wire_address(address)
    if wire is None:
        return None
    local, _, domain = wire.rpartition("@")
    if local.startswith('"'):
        bare = _ESCAPED.sub(r"\1", local[1:-1])
        local = bare if _DOT_ATOM.fullmatch(bare) else local
    local = local.lower()
    return f"{local if local.isascii() else unicodedata.normalize('NFC', local)}@{domain}"


def _wire_domain(domain: str) -> str | None:
    if domain.startswith("["):
        return _literal(domain)
    if len(domain) > DOMAIN_MAX:
        return None
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    known = len(domain) <= DOMAIN_MAX and all(_LABEL.fullmatch(label) for label in domain.split("."))
    return domain.lower() if known else None


def _literal(domain: str) -> str | None:
    """An address literal (RFC 5321 section 4.1.3): `[192.0.2.1]`, `[IPv6:2001:db8::1]`."""
    inner = domain.removeprefix("[").removesuffix("]")
    if len(inner) + 2 != len(domain):
        return None
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{IPv6Address(inner[5:])}]"
        return f"[{IPv4Address(inner)}]"
    except ValueError:
        return None
