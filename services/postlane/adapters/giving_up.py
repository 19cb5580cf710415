"""Waiting that ends when the process is to stop, and blocking calls that nobody waits for then."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class GivenUp(Exception):
    """What was waited for is given up, because it is time to stop."""


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work, which is cancelled as soon as `stop` is set. Raises GivenUp."""
    running = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        raise GivenUp
    finally:
        stopping.cancel()
        running.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)


async def in_daemon_thread(call: Callable[[], T]) -> T:
    """Make a call that only asks: it may take long where Kafka is away, and the end of the process does not wait for its thread."""
    answer = Future[T]()
    answer.set_running_or_notify_cancel()  # it cannot be cancelled, only left alone

    def run() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 (handed over)
            answer.set_exception(error)
        else:
            answer.set_result(result)

    Thread(target=run, name=f"asks-{getattr(call, '__name__', 'kafka')}", daemon=True).start()
    return await asyncio.wrap_future(answer)
