"""Mails for the drills of docs/operations.md, and the check that a relay got each of them once and in order.

    python examples/drill.py send A --tickets 20 --each 10 [--tag backed] [--domains gone.test,filter.test]
    python examples/drill.py check A --control http://127.0.0.1:2601

`send` writes to tickets A0, A1, ... in turn; each mail has a recipient of its own, at the domains in turn. The configuration is found as
`postlane` finds it. `check` asks the control of a test relay (deploy/localstack).
"""

import argparse
import json
import sys
from collections import defaultdict
from urllib.request import urlopen

from postlane.client import MailProducer, request
from postlane.config.settings import load_settings


def send(name: str, tickets: int, each: int, tag: str | None, domains: list[str]) -> None:
    """The n-th mail of a ticket says n in its subject."""
    with MailProducer(load_settings().kafka) as producer:
        for count in range(tickets * each):
            number, place = divmod(count, tickets)
            producer.send(
                request(
                    ticket_id=f"{name}{place}",
                    from_address="support@desk.test",
                    to=[f"c{name}{count}@{domains[(place + number) % len(domains)]}"],
                    subject=f"{name}{place} no {number}",
                    text="x" * 1000,
                    tags=() if tag is None else (tag,),
                )
            )
    print(f"{tickets * each} mails of {tickets} tickets are on their way")


def check(name: str, control: str) -> int:
    """0 where the mails that this relay took came once each and in their tickets' order."""
    with urlopen(f"{control}/mails") as answer:
        mails = json.load(answer)["mails"]
    numbers: dict[str, list[int]] = defaultdict(list)
    for mail in mails:
        ticket, found, number = mail["subject"].partition(" no ")
        if found and ticket.removeprefix(name).isdecimal():
            numbers[ticket].append(int(number))
    disordered = [ticket for ticket, taken in numbers.items() if taken != sorted(taken)]
    repeated = [ticket for ticket, taken in numbers.items() if len(taken) != len(set(taken))]
    print(
        f"{sum(map(len, numbers.values()))} mails of {len(numbers)} tickets; out of order: {disordered}; twice: {repeated}"
    )
    return 1 if disordered or repeated else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    sending, checking = commands.add_parser("send"), commands.add_parser("check")
    for command in (sending, checking):
        command.add_argument("name", help="how the drill's tickets begin")
    sending.add_argument("--tickets", type=int, default=20)
    sending.add_argument("--each", type=int, default=10, help="mails of each ticket")
    sending.add_argument("--tag", help="for a route")
    sending.add_argument("--domains", default="customer.test", help="of the recipients, separated by commas")
    checking.add_argument(
        "--control", required=True, help="the test relay's control, such as http://127.0.0.1:2601"
    )
    given = parser.parse_args()
    if given.command == "check":
        return check(given.name, given.control)
    send(given.name, given.tickets, given.each, given.tag, given.domains.split(","))
    return 0


if __name__ == "__main__":
    sys.exit(main())
