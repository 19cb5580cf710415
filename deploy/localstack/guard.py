"""Run one server and end it when asked to, or when whoever started it is gone.

    python guard.py COMMAND ARGUMENT...      (stdin = the lifeline, a pipe held by the starter)

The lifeline closes when its holder ends, however it ends, on Linux and macOS alike; the guard then stops the
server. One byte on the lifeline (`DETACH`) lets the server outlive its starter: `localstack up` sends it once
all servers answer. SIGTERM, SIGINT and SIGHUP stop the server: SIGTERM first, SIGKILL after `GRACE_SECONDS`.
On Linux the server also dies with the guard itself.

Standard library only, and run by path, so that it starts in a few milliseconds.
"""

import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time

DETACH = b"d"
GRACE_SECONDS = 10.0  # a broker that flushes a few hundred partitions needs one or two
PR_SET_PDEATHSIG = 1  # linux/prctl.h
STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def main(command: list[str]) -> int:
    """Return the server's exit code; 128 + signal number when a signal ended it."""
    stop_asked, wakeup = os.pipe()
    for end in (stop_asked, wakeup):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakeup)
    for number in (*STOPPING, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)  # the wake-up pipe carries the number

    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_guard)  # noqa: PLW1509  # we have no threads
    _watch(server, stop_asked)
    if server.poll() is None:
        _stop(server)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _watch(server: "subprocess.Popen[bytes]", stop_asked: int) -> None:
    """Return when the server has ended or is to be stopped."""
    with selectors.DefaultSelector() as selector:
        selector.register(stop_asked, selectors.EVENT_READ)
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while server.poll() is None:
            for key, _ in selector.select():
                if key.fd == stop_asked:
                    if not STOPPING.isdisjoint(os.read(stop_asked, 64)):
                        return
                elif os.read(key.fd, 1) == DETACH:
                    selector.unregister(key.fd)
                else:
                    return


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if server.poll() is None:
        server.kill()
        server.wait()


def _die_with_guard() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
