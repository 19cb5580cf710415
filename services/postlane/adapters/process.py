"""What every service process shares: logs, metrics, health, signals, uvloop and an end within a bounded time."""

import asyncio
import contextlib
import ctypes
import errno
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import structlog

from postlane.adapters import logs
from postlane.adapters.http_health import Health, HttpHealth
from postlane.adapters.metrics import Metrics
from postlane.adapters.schema_files import SchemasMissing
from postlane.adapters.steady_clock import steady_clock
from postlane.config.sections import HttpSection
from postlane.config.settings import ConfigError, Settings
from postlane.core.clock_steps import SET_BACK_SECONDS_MAX, ClockSteps
from postlane.core.metrics import INBOUND_METRICS, INFO, OUTBOUND_METRICS
from postlane.core.topics import BadTopics
from postlane.ports import Clock

HEARTBEAT_SECONDS = 1.0
COLLECTOR_THRESHOLDS = (50_000, 20, 20)
MALLOPT_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD in malloc.h
TRIM_THRESHOLD_BYTES = 2**20
STOP_GRACE_SECONDS = 1.5  # after a service's own drain time; with the default 8 s a stop stays under 10 s

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2

log = structlog.get_logger(__name__)


class CannotStart(Exception):
    """A service refuses to start; the text says in one line per fault what is wrong and what to do."""


class ClockSetBack(Exception):
    """The clock of this machine was set back while the service ran: a new process must go on."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a running service is given: `stop` is set by SIGTERM or SIGINT; then it drains and returns."""

    stop: asyncio.Event
    metrics: Metrics
    health: Health
    instance: str


Service = Callable[[Settings, Runtime], Awaitable[None]]

_METRICS = {"outbound": OUTBOUND_METRICS, "inbound": INBOUND_METRICS}


def installed_version() -> str:
    """The version of the installed distribution; `source` where the package runs from its source tree."""
    try:
        return version("postlane")
    except PackageNotFoundError:
        return "source"


def run_service(
    name: str, service: Service, settings: Settings, *, supervised: bool = False, wall: Clock = time.time
) -> int:
    """Run a service (`outbound` or `inbound`) until it returns or is told to stop; the process's exit code.

    `supervised`: stdin is a pipe from the supervisor, and its end means stop. `wall` shows the time of day.

    A second signal, or a drain that takes longer than its time, ends the process at once: what was not committed then
    is repeated by the next owner.
    """
    logs.configure(settings.logs, service=name)
    _tune_memory()
    metrics = Metrics(_METRICS[name])
    instance = f"{socket.gethostname()}-{os.getpid()}"
    metrics.gauge(INFO, service=name, version=installed_version(), instance=instance).set(1)
    health = Health(metrics, time.monotonic)
    try:
        http = HttpHealth(settings.http.host, settings.http.port, health, metrics)
    except OSError as error:
        log.error("cannot_start", reason=_http_refusal(settings.http, error))
        return EXIT_USAGE
    http.start()
    begin = partial(
        log.info, "service_starting", instance=instance, http=f"http://{http.address[0]}:{http.address[1]}"
    )
    watchdog = _Watchdog(settings.drain_seconds(name) + STOP_GRACE_SECONDS)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(
                _serve(
                    partial(service, settings),
                    Runtime(asyncio.Event(), metrics, health, instance),
                    watchdog,
                    begin,
                    supervised=supervised,
                    wall=wall,
                )
            )
    except (CannotStart, ConfigError, SchemasMissing, BadTopics) as error:
        for line in str(error).splitlines():
            log.error("cannot_start", reason=line)
        return EXIT_USAGE
    except ClockSetBack as error:
        log.error("service_failed", reason=str(error))
        return EXIT_FAILED
    except Exception:
        log.exception("service_failed")
        return EXIT_FAILED
    finally:
        watchdog.disarm()
        http.close()
    log.info("service_stopped")
    return EXIT_OK


def _tune_memory() -> None:
    """Collect garbage less often: a take-over makes hundreds of thousands of objects that stay, and looking through them took a third of its time.

    And give memory back that a take-over needed only for a moment: glibc keeps more and more of it otherwise (mallopt(3)).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(MALLOPT_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)


def _http_refusal(http: HttpSection, error: OSError) -> str:
    advice = {
        errno.EADDRINUSE: "two services on one host need two ports: set http.port (POSTLANE_HTTP__PORT), 0 takes any free one",
        errno.EACCES: "ports below 1024 are the administrator's: set http.port (POSTLANE_HTTP__PORT)",
    }.get(error.errno or 0, "set http.host (POSTLANE_HTTP__HOST) to an address of this host")
    return f"[http] {http.host}:{http.port}: {error.strerror}; {advice}"


class _Watchdog:
    """Ends the process when a stop takes too long, whatever hangs: the event loop, a thread, a Kafka client."""

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def arm(self) -> None:
        if not self._timer.is_alive():
            self._timer.start()

    def disarm(self) -> None:
        self._timer.cancel()

    @staticmethod
    def _end() -> None:
        log.error("stop_overdue", reason="mails in flight did not end in time; the next owner repeats them")
        os._exit(EXIT_FAILED)


async def _serve(
    service: Callable[[Runtime], Awaitable[None]],
    runtime: Runtime,
    watchdog: _Watchdog,
    begin: Callable[[], object],
    *,
    supervised: bool,
    wall: Clock,
) -> None:
    _listen_for_signals(runtime.stop, watchdog)
    begin()  # whoever sees this line may stop the process in order
    if supervised:
        _listen_for_supervisor(runtime.stop, watchdog)
    pulse = asyncio.create_task(_beat(runtime, watchdog, wall))
    try:
        await service(runtime)
        if pulse.done():
            pulse.result()
    finally:
        pulse.cancel()
        watchdog.arm()


def _listen_for_supervisor(stop: asyncio.Event, watchdog: _Watchdog) -> None:
    """Stop when the pipe from the supervisor closes: it has ended, and nobody would start or stop this process any more."""
    loop = asyncio.get_running_loop()

    def wait_for_end() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        log.warning("supervisor_gone")
        watchdog.arm()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait_for_end, name="supervisor", daemon=True).start()


def _listen_for_signals(stop: asyncio.Event, watchdog: _Watchdog) -> None:
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            log.warning("stopping_at_once", signal=signal.Signals(number).name)
            os._exit(128 + number)
        log.info("service_stopping", signal=signal.Signals(number).name)
        watchdog.arm()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


async def _beat(runtime: Runtime, watchdog: _Watchdog, wall: Clock) -> None:
    """Say that the event loop turns, and end the service where the clock was set back. Raises ClockSetBack then."""
    steps = ClockSteps(wall(), steady_clock())
    while True:
        runtime.health.beat()
        back = steps.set_back_seconds(wall(), steady_clock())
        if back > SET_BACK_SECONDS_MAX:
            reason = f"this machine's clock was set back by {back:.0f} s, so waits of the Kafka client last that much longer; a new process goes on"
            # At once: the client may not let the service stop in order.
            log.error("clock_set_back", reason=reason)
            watchdog.arm()
            runtime.stop.set()
            raise ClockSetBack(reason)
        await asyncio.sleep(HEARTBEAT_SECONDS)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Take uvloop where it is installed, else the standard loop."""
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - comes with the services' extras only

        return uvloop.new_event_loop
    return None
