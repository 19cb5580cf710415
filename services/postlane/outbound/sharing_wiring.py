"""Wires what senders share: this process's shares of all relays, and its part in allotting them."""

from hashlib import sha256
from uuid import uuid4

from postlane.adapters.avro_codec import Codec
from postlane.adapters.life_signs import LifeSigns
from postlane.config.settings import Settings
from postlane.core.sharing.relay_terms import terms_of
from postlane.core.sharing.section_marks import marks_of
from postlane.outbound.allocation import Allocation, AllocationParts
from postlane.outbound.kafka_clock import KafkaClock
from postlane.outbound.lease_records import LeaseRecords
from postlane.outbound.sharing import Sharing, SharingParts
from postlane.ports import EventLog

RELAYS = "mail.relays"
SOURCE = "/postlane/outbound"


def wire_sharing(
    settings: Settings, event_log: EventLog, codec: Codec, instance: str, clock: KafkaClock
) -> tuple[Sharing, Allocation]:
    """For the relays of the configuration, which must be the same for all senders."""
    marks = {
        name: marks_of(relay.shared_section(settings.outbound.lease_seconds))
        for name, relay in settings.relays.items()
    }
    records = LeaseRecords(codec, settings.kafka.topic(RELAYS), settings.topics.partitions, SOURCE, marks)
    group = settings.kafka.group("relays")
    relays = {
        name: relay.shared_limits(name, settings.outbound.lease_seconds)
        for name, relay in settings.relays.items()
    }
    sharing = Sharing(
        SharingParts(
            event_log=event_log,
            records=records,
            relays=relays,
            group=group,
            holder=f"{instance}-{uuid4().hex[:8]}",
            clock=clock,
            life_signs=LifeSigns(_installation(settings)),
        )
    )
    allocation = Allocation(
        AllocationParts(
            event_log=event_log,
            records=records,
            terms={name: terms_of(limits) for name, limits in relays.items()},
            group=group,
            steady=clock.steady,
        )
    )
    return sharing, allocation


def _installation(settings: Settings) -> str:
    """Senders with the same are senders of the same relays: one cluster, one prefix."""
    kafka = settings.kafka
    words = f"{kafka.bootstrap_servers} {kafka.topic_prefix} {kafka.group_prefix}"
    return f"sender-{sha256(words.encode()).hexdigest()[:12]}"
