"""A ticket desk in a few dozen lines: received mail opens and updates tickets, agents' answers go out, all in SQLite.

python examples/ticket_desk.py --config postlane.toml run desk.sqlite
python examples/ticket_desk.py --config postlane.toml answer desk.sqlite 1 "Have you tried turning it off?"
"""

import argparse
import signal
import sqlite3
import sys
from pathlib import Path

from postlane.client import MailConsumer, MailProducer, MailReceived, Unreadable, request
from postlane.config.settings import Settings, load_settings

SUPPORT = "Support <support@desk.test>"
TABLES = """
create table if not exists tickets (id text primary key, subject text, customer text, thread text);
create table if not exists messages (event text primary key, ticket text, author text, text text, message_id text);
"""


def open_book(path: Path) -> sqlite3.Connection:
    """The desk's database, its tables made if need be."""
    book = sqlite3.connect(path, timeout=10)
    book.executescript(TABLES)
    return book


def take_in(book: sqlite3.Connection, mail: MailReceived) -> None:
    """Open or update a ticket; an event that was taken in before changes nothing."""
    if not mail.verdicts.may_open and mail.ticket_id is None:
        return  # an auto-reply or a bounce that belongs to nothing
    with book:
        if book.execute("select 1 from messages where event = ?", (mail.event_id,)).fetchone():
            return
        ticket = find_ticket(book, mail) or open_ticket(book, mail)
        sender = mail.from_addresses[0].address if mail.from_addresses else ""
        text = mail.reply_text or mail.text or ""
        message = (mail.event_id, ticket, sender, text, mail.message_id)
        book.execute("insert into messages values (?, ?, ?, ?, ?)", message)


def find_ticket(book: sqlite3.Connection, mail: MailReceived) -> str | None:
    """By our signed id, else by the thread that a customer's own mails make."""
    query = "select id from tickets where id = ? or thread = ?"
    row = book.execute(query, (mail.ticket_id, mail.thread_key)).fetchone()
    return None if row is None else str(row[0])


def open_ticket(book: sqlite3.Connection, mail: MailReceived) -> str:
    """A new ticket with the next number."""
    (number,) = book.execute("select count(*) + 1 from tickets").fetchone()
    customer = mail.from_addresses[0].address if mail.from_addresses else ""
    row = (str(number), mail.subject, customer, mail.thread_key)
    book.execute("insert into tickets values (?, ?, ?, ?)", row)
    return str(number)


def report(record: Unreadable) -> None:
    """A record that is no mail must not stop the desk, nor pass unseen."""
    place = f"{record.topic} {record.partition}/{record.offset}"
    print(f"passed over {place}, which is no mail: {record.fault}", file=sys.stderr, flush=True)


def run(settings: Settings, path: Path) -> None:
    """Take mail in until SIGTERM."""
    book = open_book(path)
    group = f"{settings.kafka.group_prefix}-desk"
    with MailConsumer(settings.kafka, group=group, on_unreadable=report) as consumer:
        signal.signal(signal.SIGTERM, lambda *_: consumer.close())
        for mail in consumer:
            take_in(book, mail.event)
            consumer.done(mail)


def answer(settings: Settings, path: Path, ticket: str, text: str) -> None:
    """An agent answers the newest message of a ticket."""
    book = open_book(path)
    subject, customer = book.execute(
        "select subject, customer from tickets where id = ?", (ticket,)
    ).fetchone()
    query = "select message_id from messages where ticket = ? and author = ? order by rowid desc"
    (message_id,) = book.execute(query, (ticket, customer)).fetchone()
    mail = request(
        ticket_id=ticket,
        from_address=SUPPORT,
        to=[customer],
        subject=f"Re: {subject}",
        text=text,
        in_reply_to=message_id,
    )
    with MailProducer(settings.kafka) as producer:
        producer.send(mail)
    with book:
        book.execute("insert into messages values (?, ?, ?, ?, null)", (mail.event_id, ticket, SUPPORT, text))


def write(settings: Settings, path: Path, customer: str, subject: str, text: str) -> None:
    """An agent opens a ticket by writing to a customer."""
    book = open_book(path)
    with book:
        (number,) = book.execute("select count(*) + 1 from tickets").fetchone()
        book.execute("insert into tickets values (?, ?, ?, null)", (str(number), subject, customer))
    mail = request(ticket_id=str(number), from_address=SUPPORT, to=[customer], subject=subject, text=text)
    with MailProducer(settings.kafka) as producer:
        producer.send(mail)


def flood(settings: Settings, customer: str, name: str, tickets: int, mails: int) -> None:
    """Many mails of several tickets at once; subjects are like `flood2-7`."""
    batch = [
        request(
            ticket_id=f"{name}-{t}",
            from_address=SUPPORT,
            to=[customer],
            subject=f"{name}{t}-{n}",
            text="hello",
        )
        for n in range(mails)
        for t in range(tickets)
    ]
    with MailProducer(settings.kafka) as producer:
        producer.send_all(batch)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="a small ticket desk")
    parser.add_argument("--config", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, arguments in {
        "run": ["path"],
        "answer": ["path", "ticket", "text"],
        "write": ["path", "customer", "subject", "text"],
        "flood": ["customer", "name", "tickets", "mails"],
    }.items():
        sub = commands.add_parser(command)
        for argument in arguments:
            sub.add_argument(argument, type={"path": Path, "tickets": int, "mails": int}.get(argument, str))
    given = parser.parse_args()
    settings = load_settings(given.config)
    match given.command:
        case "run":
            run(settings, given.path)
        case "answer":
            answer(settings, given.path, given.ticket, given.text)
        case "write":
            write(settings, given.path, given.customer, given.subject, given.text)
        case "flood":
            flood(settings, given.customer, given.name, given.tickets, given.mails)


if __name__ == "__main__":
    main()
