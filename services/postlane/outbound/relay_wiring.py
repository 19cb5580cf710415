"""Wires the relays of the configuration: their sessions and governors, and the board that hands mail round to them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from postlane.adapters.blob_stores import open_blob_store
from postlane.adapters.smtp_sink import SmtpSink
from postlane.config.relay_section import RelaySection
from postlane.config.sections import OutboundSection
from postlane.config.settings import Settings
from postlane.core.limits.circuit import CircuitPolicy
from postlane.core.limits.governor import Governor, GovernorPolicy
from postlane.core.limits.held_senders import HeldSenders
from postlane.core.sending.dead_limit import DeadLimit, DeadLimitPolicy
from postlane.core.sending.screening import Listed, screening
from postlane.core.smtp.attempt import Classify
from postlane.core.smtp.smtp_reply import Classifier
from postlane.core.writing.envelope_sender import SenderPolicy
from postlane.core.writing.mime_build import BuildPolicy
from postlane.outbound.gauges import Gauges
from postlane.outbound.relay_board import RelayBoard
from postlane.outbound.relay_desk import DeskParts, RelayDesk, Screen
from postlane.outbound.relay_share import RelayShare
from postlane.ports import Clock, MailDomains


@dataclass(frozen=True, slots=True)
class Relays:
    """All relays at work, and what must be closed in the end."""

    board: RelayBoard
    sinks: tuple[SmtpSink, ...]
    domains: MailDomains | None

    async def close(self) -> None:
        """End the sessions."""
        if self.domains is not None:
            await self.domains.close()
        await asyncio.gather(*(sink.close() for sink in self.sinks))


@dataclass(frozen=True, slots=True)
class _Tools:
    """What all desks use."""

    classify: Classify
    domains: MailDomains | None
    screen: Screen
    clock: Clock


def wire_relays(  # noqa: PLR0917 - all that its desks are made of
    settings: Settings,
    gauges: Gauges,
    classifier: Classifier,
    listed: Listed,
    shares: Mapping[str, RelayShare],
    clock: Clock,
) -> Relays:
    """`listed` knows the suppression list. Raises ConfigError for files that cannot be used."""
    sinks = {
        name: SmtpSink(name, relay, note_grant=partial(gauges.grant, name))
        for name, relay in settings.relays.items()
    }
    domains = _domains(settings.outbound)
    safety = settings.safety.as_safety()
    tools = _Tools(classifier.classify, domains, screening(safety, listed), clock)
    desks = {name: _desk(settings, shares[name], sink, tools) for name, sink in sinks.items()}
    return Relays(RelayBoard(desks, settings.mail_routes(), clock), tuple(sinks.values()), domains)


def _domains(outbound: OutboundSection) -> MailDomains | None:
    if not outbound.check_domains:
        return None
    from postlane.adapters.dns_domains import DnsDomains  # noqa: PLC0415 - costs time to import, and few want it

    return DnsDomains(outbound.name_servers(), outbound.dns_seconds)


def _desk(settings: Settings, share: RelayShare, sink: SmtpSink, tools: _Tools) -> RelayDesk:
    name, outbound = share.terms.relay, settings.outbound
    relay, keys = settings.relays[name], settings.signing.signing_keys()
    share.connect(sink)
    return RelayDesk(
        DeskParts(
            governor=_governor(name, relay, share),
            senders=HeldSenders(relay.hold_seconds_max),
            limit=DeadLimit(DeadLimitPolicy(outbound.dead_limit_mails, outbound.dead_limit_share)),
            sink=sink,
            blobs=open_blob_store(settings.blobs),
            classify=tools.classify,
            build=BuildPolicy(keys=keys, plus_address=outbound.plus_address),
            envelope=SenderPolicy(keys=keys, bounce_address=relay.bounce_address, verp=relay.verp),
            screen=tools.screen,
            recipients_max=relay.recipients_per_mail,
            domains=tools.domains,
            clock=tools.clock,
        )
    )


def _governor(name: str, relay: RelaySection, share: RelayShare) -> Governor:
    circuit = CircuitPolicy(hold_seconds=relay.hold_seconds, hold_seconds_max=relay.hold_seconds_max)
    policy = GovernorPolicy(connections=relay.connections, circuit=circuit)
    return Governor(name, policy, share.limits, share)
