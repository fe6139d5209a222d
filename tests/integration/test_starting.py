"""Before the start: it names what is missing, waits unready, and then starts by itself."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.integration.brokers import committed
from tests.integration.events import event
from tests.integration.ports import reserved
from tests.integration.program import World


def test_source_topic_that_does_not_exist_is_waited_for(world: World) -> None:
    connector = world.connector()
    sentence = f"source topic {world.topic} does not exist (or may not be described)"
    connector.until_said("waiting", message=sentence)
    remedy = "create it, grant Describe on it, or correct KAFKA_TOPIC"
    assert connector.page("/readyz") == (503, f"{sentence}: {remedy}\n")
    assert connector.page("/livez") == (200, "live\n")

    world.create_topic()
    world.produce(event("1"))

    connector.until_resolved(delivered=1)
    connector.until_ready()


def test_brokers_that_do_not_answer_are_waited_for(world: World) -> None:
    world.create_topic()
    world.produce(event("1"))
    (port,) = reserved(1)
    connector = world.connector(KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}", KAFKA_RECONNECT_BACKOFF_MAX_MS="500")
    connector.until_said("waiting", message="the brokers do not answer")
    status, why = connector.page("/readyz")
    assert status == 503
    assert "the brokers do not answer" in why
    assert connector.page("/livez")[0] == 200

    with _forwarding(port, world.servers):
        connector.until_resolved(delivered=1)


def test_process_that_waits_ends_with_code_0_on_sigterm(world: World) -> None:
    connector = world.connector()
    connector.until_said("waiting")
    assert connector.stop() == 0


def test_settings_are_refused_with_code_2_and_all_problems_at_once(world: World) -> None:
    refused = world.command(
        "run",
        KAFKA_ACKS="1",
        KAFKA_AUTO_OFFSET_RESET="latest",
        KAFKA_SESION_TIMEOUT_MS="6000",
        AMAZON_REGON="EU",
        AMAZON_ACCOUNT_ID=None,
        AMAZON_REFRESH_TOKEN="Atzr|a secret that must not show",
        AMAZON_ACCESS_TOKEN="Atza|another",
        DEDUPE_WINDOW="1d",
        BATCH_MAX_EVENTS="501",
    )

    assert refused.returncode == 2
    assert refused.stdout == ""
    problems = [line.removeprefix("  - ").split()[0] for line in refused.stderr.splitlines() if line.startswith("  - ")]
    assert sorted(problems) == [
        "AMAZON_ACCESS_TOKEN",
        "AMAZON_ACCOUNT_ID",
        "AMAZON_REGON",
        "BATCH_MAX_EVENTS",
        "DEDUPE_WINDOW",
        "KAFKA_ACKS",
        "KAFKA_AUTO_OFFSET_RESET",
        "KAFKA_SESION_TIMEOUT_MS",
    ]
    assert "Atz" not in refused.stderr
    assert committed(world.servers, world.group, world.topic) == {}


@contextlib.contextmanager
def _forwarding(port: int, servers: str) -> Iterator[None]:
    """Let a port reach the first broker: from it clients learn the brokers' own addresses."""
    host, _, at = servers.split(",", maxsplit=1)[0].rpartition(":")
    open_sockets: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(65_536):
                sink.sendall(chunk)

    def accept(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                broker = socket.create_connection((host, int(at)))
                open_sockets.extend((client, broker))
                threads.extend(threading.Thread(target=pump, args=ends) for ends in ((client, broker), (broker, client)))
                for thread in threads[-2:]:
                    thread.start()

    listening = socket.create_server(("127.0.0.1", port))
    threads = [threading.Thread(target=accept, args=(listening,))]
    threads[0].start()
    try:
        yield
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        threads[0].join()
        for each in open_sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in threads[1:]:
            thread.join()
        for each in open_sockets:
            each.close()
