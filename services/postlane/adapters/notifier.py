"""Tells people of alerts without ever holding the service up: each channel has a short queue and a task of its own.

What a channel does not take is tried a few times and then given up, with a line in the log; a reminder follows anyway while the
alert stands.
"""

import asyncio
import traceback
from collections import deque
from collections.abc import Sequence
from typing import assert_never

import structlog

from postlane.adapters.alert_mail import AlertMail
from postlane.adapters.metrics import Metrics
from postlane.adapters.notice_channel import Away, NoticeChannel, Refused, Told
from postlane.adapters.webhook import Webhook
from postlane.config.notify_section import NotifySection
from postlane.core.alerts.notice import Notice
from postlane.core.metrics import NOTIFICATIONS

RETRY_SECONDS = (5.0, 30.0, 120.0)
ATTEMPT_SECONDS_MAX = 150.0  # an SMTP server may take its timeout for each of several commands
WAITING_MAX = 100  # of one channel; there are six kinds of alerts
CLOSE_SECONDS = 1.0  # a stopping service waits so long for what is being told
ENDS = ("sent", "failed", "dropped")
STOPPING = "the service stops"

log = structlog.get_logger(__name__)


def channels_of(section: NotifySection) -> tuple[NoticeChannel, ...]:
    """What is configured. Raises ConfigError for a file that cannot be used."""
    webhook = () if section.webhook is None else (Webhook(section.webhook),)
    mail = () if section.mail is None else (AlertMail(section.mail),)
    return *webhook, *mail


class Notifier:
    """To be used on the event loop."""

    def __init__(
        self,
        channels: Sequence[NoticeChannel],
        metrics: Metrics,
        *,
        retry_seconds: tuple[float, ...] = RETRY_SECONDS,
    ) -> None:
        self._lines = [_Line(channel, metrics, retry_seconds) for channel in channels]

    def tell(self, notice: Notice) -> None:
        """Hand it to every channel; returns at once and never raises."""
        for line in self._lines:
            line.put(notice)

    async def close(self) -> None:
        """Let what waits be told within CLOSE_SECONDS, then give up."""
        await asyncio.gather(*(line.close() for line in self._lines))


class _Line:
    """One channel with what it has yet to tell, in order."""

    def __init__(self, channel: NoticeChannel, metrics: Metrics, retry_seconds: tuple[float, ...]) -> None:
        self._channel = channel
        self._metrics = metrics
        self._retry_seconds = retry_seconds
        self._waiting: deque[Notice] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        for end in ENDS:  # a series that begins at 0 shows its first growth
            metrics.counter(NOTIFICATIONS, channel=channel.name, end=end)

    def put(self, notice: Notice) -> None:
        if self._closed:
            return
        if len(self._waiting) >= WAITING_MAX:
            self._ended(self._waiting.popleft(), "dropped", "too many are waiting")
        self._waiting.append(notice)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
            self._task.cancel()
            await asyncio.wait({self._task})
        while self._waiting:
            self._ended(self._waiting.popleft(), "dropped", STOPPING)
        await self._channel.close()

    async def _work(self) -> None:
        while self._waiting:
            notice = self._waiting.popleft()
            try:
                end, words = await self._try(notice)
            except asyncio.CancelledError:
                self._ended(notice, "dropped", STOPPING)
                raise
            self._ended(notice, end, words)

    async def _try(self, notice: Notice) -> tuple[str, str]:
        """How it ended, after as many attempts as it takes or are allowed."""
        words = ""
        for delay in (0.0, *self._retry_seconds):
            await asyncio.sleep(delay)
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS_MAX):
                    outcome = await self._channel.tell(notice)
            except TimeoutError:
                outcome = Away(f"not told within {ATTEMPT_SECONDS_MAX:g} s")
            except Exception as error:  # noqa: BLE001 - a fault of ours, logged without its words, which may hold a secret address
                frames = "".join(traceback.format_tb(error.__traceback__))
                log.error(
                    "notify_fault", channel=self._channel.name, error=type(error).__name__, frames=frames
                )
                return "failed", f"{type(error).__name__}, a fault of Postlane"
            match outcome:
                case Told(words):
                    return "sent", words
                case Refused(words):
                    return "failed", words
                case Away(words):
                    log.info("notify_retry", channel=self._channel.name, alert=notice.alert, reason=words)
                case _:
                    assert_never(outcome)
        return "failed", words

    def _ended(self, notice: Notice, end: str, words: str) -> None:
        self._metrics.counter(NOTIFICATIONS, channel=self._channel.name, end=end).inc()
        said = log.bind(
            channel=self._channel.name, alert=notice.alert, subject=notice.subject, telling=notice.event
        )
        if end != "sent":
            said.warning("notify_failed", end=end, reason=words)
        elif words:
            said.warning("notify_sent", except_for=words)
        else:
            said.info("notify_sent")
