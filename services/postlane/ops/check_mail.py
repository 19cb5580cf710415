"""Doctor's checks of relays and name servers: log in or ask as a service would, and touch nothing."""

import asyncio
import socket
from typing import TYPE_CHECKING

from postlane.config.relay_section import RelaySection
from postlane.config.sections import OutboundSection
from postlane.config.settings import ConfigError
from postlane.core.routing.mail_domains import WITNESS_DOMAIN, NoAnswer, NoRecords, Question
from postlane.core.smtp.transcript import Answer, Lost, Phase
from postlane.ops.checks import Check, fail, ok, warn
from postlane.ops.output import install_words

if TYPE_CHECKING:
    from postlane.adapters.token_source import Standing

CHECK_SECONDS_MAX = 30.0  # somebody is waiting for the answer

RELAY_ADVICE = {
    Phase.CONNECT: "check host, port and firewall; with port 465 use tls = implicit, with 587 starttls",
    Phase.TLS: "check tls and port; for an own certificate authority set ca_file",
    Phase.EHLO: "check port and tls; some relays want a real ehlo_name",
    Phase.AUTH: "check username and password; some providers want an app password",
}

ADVICE_LOGIN_REFUSED = "the relay refuses a token that the token endpoint gave: check username, oauth.scope and that the account may send by SMTP"


async def check_relay(name: str, relay: RelaySection) -> Check:
    """Get an access token where one is needed, connect, encrypt and log in as a sender does before its first mail, then leave."""
    try:
        from postlane.adapters.relay_tls import relay_tls  # noqa: PLC0415 - an extra of its own
        from postlane.adapters.smtp_link import SmtpLink, Stopped  # noqa: PLC0415
        from postlane.adapters.token_source import TokenSource  # noqa: PLC0415
    except ModuleNotFoundError as error:
        return missing_package(f"relay {name}", error, "outbound")
    place = f"{relay.host}:{relay.port}"
    try:
        tls = relay_tls(name, relay)
        tokens = None if relay.oauth is None else TokenSource(name, relay.oauth)
    except ConfigError as error:
        return fail(f"relay {name}", str(error), f"[relays.{name}]: set a file in PEM form that can be used")
    link = SmtpLink(relay, relay.ehlo_name or socket.getfqdn(), tls, tokens)
    try:
        await asyncio.wait_for(link.open(), CHECK_SECONDS_MAX)
        login = "without login" if relay.username is None else f"as {relay.username}"
        size = link.extensions.get("size", "")
        limit = f", mails up to {int(size) / 2**20:.1f} MiB" if size.isdecimal() and int(size) else ""
        await link.quit()
    except TimeoutError:
        return _shut(name, place, Lost(Phase.CONNECT, f"no answer within {CHECK_SECONDS_MAX:g} s"))
    except Stopped as stop:
        if tokens is not None and not tokens.standing.ok:
            return _no_token(name, tokens.standing)
        return _shut(name, place, stop.answer, by_token=tokens is not None)
    finally:
        link.cut()
        if tokens is not None:
            tokens.close()
    return _let_in(name, f"{place} lets us in {login}{limit}", None if tokens is None else tokens.standing)


def _let_in(name: str, words: str, grant: "Standing | None") -> Check:
    if grant is None:
        return ok(f"relay {name}", words)
    if grant.unkept:
        words = f"{words} by access token, and the provider replaced the refresh token, which has no place to be kept"
        advice = "set refresh_token_file, give the grant anew and set refresh_token"
        return warn(f"relay {name}", words, f"[relays.{name}.oauth]: {advice}")
    if grant.days_left is None:
        return ok(f"relay {name}", f"{words} by access token")
    words = f"{words} by access token; its grant ends in {grant.days_left:.1f} days"
    if not grant.warns:
        return ok(f"relay {name}", words)
    return warn(f"relay {name}", words, f"[relays.{name}.oauth]: give the grant anew and set refresh_token")


def _no_token(name: str, grant: "Standing") -> Check:
    advice = "check that token_url can be reached from here"
    if grant.broken:
        advice = "check client_id, client_secret, scope and refresh_token; a grant that was revoked must be given anew"
    return fail(f"relay {name}", f"no access token: {grant.words}", f"[relays.{name}.oauth]: {advice}")


def _shut(name: str, place: str, answer: Answer, *, by_token: bool = False) -> Check:
    phase = Phase(answer.phase)
    words = answer.error if isinstance(answer, Lost) else f"{answer.code} {answer.text}"
    advice = RELAY_ADVICE.get(phase, "ask whoever runs the relay")
    if by_token and phase is Phase.AUTH:
        advice = ADVICE_LOGIN_REFUSED
    return fail(f"relay {name}", f"{place} at {phase.value}: {words}", f"[relays.{name}]: {advice}")


async def check_name_servers(outbound: OutboundSection) -> Check:
    """Ask for a domain that every name server knows, as a sender with `check_domains` does before it believes that one does not exist."""
    try:
        from postlane.adapters.dns_domains import DnsDomains  # noqa: PLC0415 - an extra of its own
    except ModuleNotFoundError as error:
        return missing_package("dns", error, "outbound")
    domains = DnsDomains(outbound.name_servers(), outbound.dns_seconds)
    answer = await domains.ask(WITNESS_DOMAIN, Question.MX)
    await domains.close()
    place = ", ".join(domains.servers)
    where = "[outbound]: set dns_servers to name servers that"
    match answer:
        case NoAnswer():
            unchecked = "until then recipients' domains are not checked"
            return warn("dns", f"{place}: {answer.error}", f"{where} answer; {unchecked}")
        case NoRecords(exists=False):
            words = f"{place}: denies that there is a domain {WITNESS_DOMAIN}, so it will not be believed"
            return warn("dns", words, f"{where} know more than your own network, or check_domains = false")
        case _:
            return ok("dns", f"{place} answers")


def missing_package(name: str, error: ModuleNotFoundError, extra: str) -> Check:
    """The failed check of something whose extra is not installed."""
    return fail(name, f"the package {error.name} is not installed", install_words(extra))
