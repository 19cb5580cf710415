"""Free TCP ports of 127.0.0.1."""

import random
import socket

HOST = "127.0.0.1"

# Below the ranges from which Linux (32768-) and macOS (49152-) take the local port of outgoing connections.
# A client that redials a stopped server on a port of those ranges can be given that very port as its own,
# connect to itself, and keep the server from ever binding it again.
FREE_PORTS = range(15_000, 32_000)
TRIES = 200

_given: set[int] = set()  # a port is not bound at once: never hand the same one out twice


class PortTakenError(Exception):
    """A port that was asked for belongs to somebody else."""


def free_ports(count: int) -> list[int]:
    """Pick distinct ports that nobody listens on; another process may still take one before its use."""
    picked: list[int] = []
    for port in random.sample(FREE_PORTS, TRIES):
        if port not in _given and is_free(port):
            picked.append(port)
            _given.add(port)
        if len(picked) == count:
            return picked
    raise PortTakenError(f"found only {len(picked)} of {count} free ports in {TRIES} tries")


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no obstacle
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose_port(wanted: int | None, preferred: int | None, option: str) -> int:
    """Return `wanted` if given, else `preferred` if given and free, else any free port.

    Raises PortTakenError if `wanted` is taken; `option` names the flag that would change it.
    """
    if wanted is not None:
        if not is_free(wanted):
            raise PortTakenError(
                f"port {wanted} of {HOST} is in use; give another with {option}, or none at all"
            )
        return wanted
    return preferred if preferred and is_free(preferred) else free_ports(1)[0]
