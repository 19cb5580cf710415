"""The front relay: an SMTP server that can be told to misbehave, before GreenMail's.

It refuses recipients that it does not know, keeps a quota, acts out faults, remembers all it did, and passes
accepted mail on byte for byte. It answers 250 only after GreenMail has the mail. Run as a process of its own:

    python -m localstack.relay --port P --control-port Q [--forward-port R] [--login]

`--login` asks for AUTH with the credentials in LOCALSTACK_RELAY_USER and LOCALSTACK_RELAY_PASSWORD.
"""

import argparse
import asyncio
import logging
import os
import sys
import warnings
from pathlib import Path

from localstack.ports import HOST
from localstack.relay_client import RelayControl
from localstack.relay_control import ControlDesk, serve_control
from localstack.relay_intake import Relay
from localstack.relay_session import RelaySession
from localstack.server import Server

USER_VARIABLE = "LOCALSTACK_RELAY_USER"
PASSWORD_VARIABLE = "LOCALSTACK_RELAY_PASSWORD"
START_TIMEOUT_SECONDS = 30.0


async def run(relay: Relay, port: int, control_port: int) -> None:
    """Serve until cancelled. Raises OSError if a port is taken."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: RelaySession(relay), HOST, port)
    with serve_control(ControlDesk(relay.policy, relay.journal), control_port, loop):
        await server.serve_forever()


def launch(control: RelayControl, forward_port: int | None, log: Path) -> Server:
    """Start a relay as a process, at the ports and with the credentials of `control`, without waiting for it."""
    command = [sys.executable, "-m", "localstack.relay"]
    command += ["--port", str(control.port), "--control-port", str(control.control_port)]
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[1]), "LANG": "C.UTF-8"}
    if forward_port is not None:
        command += ["--forward-port", str(forward_port)]
    if control.user is not None and control.password is not None:
        command += ["--login"]
        environment |= {USER_VARIABLE: control.user, PASSWORD_VARIABLE: control.password}
    ports = (control.port, control.control_port)
    return Server("relay", command, log, environment, ports=ports)


def wait_until_ready(server: Server, control: RelayControl) -> None:
    """Raises ServerFault."""
    server.wait_until(control.answers, START_TIMEOUT_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="localstack.relay")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--control-port", type=int, required=True)
    parser.add_argument("--forward-port", type=int)
    parser.add_argument("--login", action="store_true")
    options = parser.parse_args()
    # One warning per connection about AUTH without TLS: on loopback we know.
    warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS")
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    credentials = (os.environ[USER_VARIABLE], os.environ[PASSWORD_VARIABLE]) if options.login else None
    asyncio.run(run(Relay(options.forward_port, credentials), options.port, options.control_port))


if __name__ == "__main__":
    main()
