"""Real servers for tests, started when a test first asks for them and stopped when the session ends.

Every session has its own servers on free ports. Their guards hold a pipe from this process, so they end with it
even if it is killed. `--kafka=` chooses the broker: `auto` and `local` start one here, `testcontainers` runs the
official image, `HOST:PORT` uses a broker that runs already and is left as it is.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from rich.console import Console

from localstack import artifacts, greenmail, kafka
from localstack import relay as relay_process
from localstack.download import download
from localstack.greenmail import Mailbox, MailServer
from localstack.ports import free_ports
from localstack.relay_client import RelayControl
from plugins.kafka_container import run_kafka_container

LOCAL_CHOICES = ("auto", "local")
CONTAINER_CHOICE = "testcontainers"
RUNNING_BROKER = re.compile(r"(\S+):([0-9]{1,5})")
USES_KAFKA = "kafka_bootstrap"
USES_DOWNLOADS = "java_artifacts"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kafka",
        default="auto",
        help="broker for tests: auto (= local), local, testcontainers, or HOST:PORT of one that runs already",
    )


def pytest_configure(config: pytest.Config) -> None:
    choice = kafka_choice(config)
    if choice not in (*LOCAL_CHOICES, CONTAINER_CHOICE) and not RUNNING_BROKER.fullmatch(choice):
        raise pytest.UsageError(f"--kafka={choice}: want auto, local, testcontainers or HOST:PORT")


def pytest_report_header(config: pytest.Config) -> str:
    version = artifacts.read_lock()["kafka"].version
    return f"kafka: {kafka_choice(config)} (local = Apache Kafka {version}, started when a test asks for it)"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Download before the first test: under a test's time limit, a slow network would be the test's fault."""
    wanted = {
        name for item in session.items if isinstance(item, pytest.Function) for name in item.fixturenames
    }
    local_kafka = USES_KAFKA in wanted and kafka_choice(session.config) in LOCAL_CHOICES
    if not session.config.option.collectonly and (local_kafka or USES_DOWNLOADS in wanted):
        download(Console(stderr=True))


def kafka_choice(config: pytest.Config) -> str:
    choice = config.getoption("--kafka")
    assert isinstance(choice, str)
    return choice


@pytest.fixture(scope="session")
def java_artifacts() -> None:
    """Asking for it makes this plugin download Kafka and GreenMail before the first test."""


@pytest.fixture(scope="session")
def stack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and logs of the session's servers; pytest keeps the folders of the last three sessions."""
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest, stack_folder: Path) -> Iterator[str]:
    """`bootstrap.servers` of a broker whose coordinators answer. Topics are the test's own: name them uniquely."""
    choice = kafka_choice(request.config)
    if choice == CONTAINER_CHOICE:
        with run_kafka_container() as bootstrap:
            yield bootstrap
    elif choice in LOCAL_CHOICES:
        broker = kafka.Broker.create(1, stack_folder / "kafka", stack_folder / "kafka.log")
        kafka.format_storage(broker, [broker], kafka.kafka_uuid())
        with kafka.launch(broker) as server:
            kafka.wait_until_ready(server, [broker])
            yield broker.address
        shutil.rmtree(broker.folder, ignore_errors=True)
    else:
        yield choice


@pytest.fixture(scope="session")
def mail_server(
    stack_folder: Path,
    java_artifacts: None,  # noqa: ARG001  # for its download
) -> Iterator[MailServer]:
    """GreenMail: SMTP that takes everything, IMAP with IDLE, MOVE and UIDPLUS. Ask `new_mailbox` for mailboxes."""
    mail = MailServer.on_free_ports()
    with greenmail.launch(mail, stack_folder / "greenmail.log") as server:
        greenmail.wait_until_ready(server, mail)
        yield mail


@pytest.fixture(scope="session")
def relay_server(stack_folder: Path, mail_server: MailServer) -> Iterator[RelayControl]:
    """The relay before GreenMail, one for the session; a test wants `relay`, which begins clean."""
    port, control_port = free_ports(2)
    control = RelayControl(port, control_port, user="postlane", password="relay-password")
    with relay_process.launch(control, mail_server.smtp_port, stack_folder / "relay.log") as server:
        relay_process.wait_until_ready(server, control)
        yield control


@pytest.fixture
def relay(relay_server: RelayControl) -> RelayControl:
    """The relay, taking mail for everybody, without quota, faults or memory of earlier tests."""
    relay_server.reset()
    return relay_server


_numbers = count(1)


@pytest.fixture
def new_mailbox(mail_server: MailServer) -> Iterator[Callable[[str], Mailbox]]:
    """Make a mailbox with an address of its own; gone after the test."""
    made: list[Mailbox] = []

    def make(name: str = "box") -> Mailbox:
        mailbox = Mailbox(f"{name}-{next(_numbers)}@desk.test", "mailbox-password")
        mail_server.add(mailbox)
        made.append(mailbox)
        return mailbox

    yield make
    for mailbox in made:
        mail_server.remove(mailbox.address)
