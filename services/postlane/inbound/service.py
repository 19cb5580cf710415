"""`postlane inbound`: wires the pollers from the settings and runs them until it is told to stop."""

import asyncio
import contextlib

from postlane.adapters.alarm_bell import AlarmBell
from postlane.adapters.blob_stores import open_blob_store
from postlane.adapters.kafka_log import KafkaLog
from postlane.adapters.notifier import Notifier, channels_of
from postlane.adapters.parser_process import ParserPool, fitting_workers
from postlane.adapters.process import CannotStart, Runtime
from postlane.adapters.scanner import configured_scanner
from postlane.adapters.start_gate import await_codec, await_topics
from postlane.config.settings import ConfigError, Settings
from postlane.core.events.command import Command
from postlane.core.events.feedback import MailFeedback
from postlane.core.events.received import MailboxCursor, MailboxReport, MailReceived
from postlane.core.smtp.smtp_rules import BadRules
from postlane.inbound.alarms import Alarms
from postlane.inbound.grants import Grants
from postlane.inbound.loop import poll_until_stopped
from postlane.inbound.topics import NAMES, InboundTopics
from postlane.inbound.wiring import Parts, bounced_recipients, class_rules, imap_connect
from postlane.ports import BlobStoreError


async def run(settings: Settings, runtime: Runtime) -> None:
    """Poll the mailboxes until `runtime.stop` is set, then finish what is running and give them back. Raises CannotStart."""
    if not settings.mailboxes:
        raise CannotStart("[mailboxes]: none is configured; add a section [mailboxes.NAME]")
    try:
        blobs = open_blob_store(settings.blobs)
        await blobs.prepare()
    except BlobStoreError as error:
        raise CannotStart(f"[blobs]: {error}") from None
    if not await await_topics(settings, NAMES, runtime):
        return
    codec = await await_codec(
        settings, (MailReceived, MailboxCursor, MailboxReport, MailFeedback, Command), runtime
    )
    if codec is None:
        return
    inbound = settings.inbound
    grants = Grants(runtime.metrics)
    try:
        connector = imap_connect(inbound, settings.mailboxes, grants.note)
    except ConfigError as error:
        raise CannotStart(str(error)) from None
    workers = inbound.parse_workers or fitting_workers()
    parsers = ParserPool(workers, inbound.parse_seconds_max, class_rules(settings))
    parsers.warm_up()
    notifier = Notifier(channels_of(settings.notify), runtime.metrics)
    bell = AlarmBell(settings.notify.pace(), notifier, runtime.metrics, runtime.instance)
    with contextlib.closing(KafkaLog(settings.kafka)) as event_log:
        try:
            bounced = bounced_recipients(settings, event_log, codec, runtime.instance)
        except BadRules as error:
            raise CannotStart(f"[outbound] reply_rules_file: {error}") from None
        parts = Parts(
            settings=settings,
            runtime=runtime,
            event_log=event_log,
            codec=codec,
            blobs=blobs,
            parsers=parsers,
            topics=InboundTopics.with_prefix(settings.kafka.topic_prefix, settings.topics.partitions),
            connect=connector,
            alarms=Alarms(bell, settings.notify.mailbox_unchecked_seconds),
            grants=grants.seen,
            scanner=configured_scanner(settings.scan, runtime.metrics, asyncio.get_running_loop().time),
            feedback=bounced.hear,
        )
        suppressing = asyncio.create_task(bounced.run())
        try:
            await poll_until_stopped(parts)
        finally:
            suppressing.cancel()
            connector.close()
            await asyncio.gather(parsers.close(), notifier.close())
