"""Who gives a command."""

import getpass
import socket
from functools import cache


@cache
def operator_name() -> str:
    """As far as this machine knows: login name and host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
