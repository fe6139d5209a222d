"""Amazon's address gone wrong (scenario 41): its name, its place, its certificate. All waits, and goes on when fixed.

What answers from the right place, but as another region or a proxy would, stands in the table of `test_scenarios`.
"""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.brokers import read_topic
from tests.integration.events import event, now_ms
from tests.integration.kafka.link import Link
from tests.integration.ports import reserved
from tests.integration.program import ConnectorProcess, World
from tests.patience import eventually, patience

_NAME = "amazon.invalid"
_HERE, _THERE = "127.0.0.1", "127.0.0.2"
_NAME_KEPT_SECONDS = 10
"""For so long aiohttp believes an address that it looked up."""


class Place:
    """Where the sandbox is reached by a name, which can be moved, and by which certificate."""

    def __init__(self, world: World) -> None:
        self.world = world
        (self.port,) = reserved(1)
        self._names = world.directory / "hosts"
        self._names.write_text("", "utf-8")
        self._links: list[Link] = []

    def connector(self, scheme: str = "http", **changes: str) -> ConnectorProcess:
        url = f"{scheme}://{_NAME}:{self.port}"
        settings = self.world.settings(AMAZON_BASE_URL=url, AMAZON_TOKEN_URL=f"{url}/auth/o2/token", **changes)
        return self.world.unstarted().start(settings, ("tests.integration.named", str(self._names), "run"))

    def listen(self, address: str = _HERE, tls: ssl.SSLContext | None = None) -> None:
        """Let it be reached there, and nowhere else."""
        self.close()
        sandbox = int(self.world.sandbox.url.rpartition(":")[2])
        self._links.append(Link([(self.port, sandbox)], address=address, tls=tls).__enter__())

    def name(self, address: str) -> None:
        """Let the name lead there, from now on."""
        new = self._names.with_suffix(".new")
        new.write_text(f"{address} {_NAME}\n", "utf-8")
        new.replace(self._names)

    def close(self) -> None:
        while self._links:
            self._links.pop().__exit__()


@pytest.fixture
def place(world: World) -> Iterator[Place]:
    world.create_topic()
    place = Place(world)
    yield place
    world.close()  # before its connections are reset
    place.close()


def _check_account(place: Place, *ids: str) -> None:
    """Check that each event was accepted once, and none set aside."""
    assert place.world.sandbox.accepted() == dict.fromkeys(ids, 1)
    assert read_topic(place.world.servers, place.world.dead_letters) == []
    place.world.until_committed_to_the_end()


def test_a_name_that_is_not_known_is_waited_for(place: Place) -> None:
    place.listen()
    place.world.produce(event("1"), event("2"))
    connector = place.connector()

    said = connector.until_said("request_failed", reason="token-dns")
    assert f"The name {_NAME} cannot be resolved" in said["detail"]
    assert [connector.page(path)[0] for path in ("/readyz", "/livez")] == [200, 200]
    assert place.world.has_committed_nothing()

    place.name(_HERE)
    connector.until_resolved(delivered=2)
    _check_account(place, "1", "2")


def test_an_endpoint_that_moves_to_another_address_is_followed(place: Place) -> None:
    place.listen(_HERE)
    place.name(_HERE)
    connector = place.connector()
    place.world.produce(event("1"))
    connector.until_resolved(delivered=1)

    place.listen(_THERE)
    place.name(_THERE)
    moved = now_ms()
    place.world.produce(event("2"))
    said = connector.until_said("request_failed", reason="connect")
    assert f"Nothing accepts connections at {_NAME}:{place.port}" in said["detail"]
    connector.until_resolved(delivered=2)

    _, after = place.world.sandbox.record()
    # It is tried again after the address is forgotten, by the fourth backoff (8 s at most); the machine may be busy.
    assert after["arrival"] - moved < 1000 * patience(4 * _NAME_KEPT_SECONDS)
    assert connector.page("/readyz")[0] == 200
    _check_account(place, "1", "2")


# ---- certificates


class Certificates:
    """Certificates that sign themselves, with their keys; and the file of those that the program trusts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        self.trusted = directory / "trusted.pem"

    def make(self, host: str = _NAME, *, days: int = 1, trusted: bool = True) -> ssl.SSLContext:
        """Make one for a host that ends in so many days, and return what shows it."""
        self._number += 1
        name = f"certificate-{self._number}"  # of its own: it is looked for among the trusted ones by it
        key, request, certificate = (self._directory / f"{name}.{kind}" for kind in ("key", "request", "pem"))
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key)
        asked = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{host}", "-out", request)
        signed = ("-in", request, "-signkey", key, "-days", str(days), "-copy_extensions", "copy", "-out", certificate)
        for command in (("req", "-new", *curve, *asked), ("x509", "-req", *signed)):
            subprocess.run(["openssl", *command], capture_output=True, check=True)
        if trusted:
            with self.trusted.open("a", encoding="ascii") as file:
                file.write(certificate.read_text("ascii"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context


Making = Callable[[Certificates], ssl.SSLContext]


@pytest.mark.parametrize(
    ("made", "why"),
    [
        pytest.param(lambda made: made.make(days=-1), "certificate has expired", id="expired"),
        pytest.param(lambda made: made.make(trusted=False), "self-signed certificate", id="not trusted"),
        pytest.param(lambda made: made.make("another.invalid"), "Hostname mismatch", id="of another host"),
    ],
)
def test_a_certificate_that_does_not_hold_needs_an_operator_until_another_is_shown(
    place: Place, made: Making, why: str
) -> None:
    certificates = Certificates(place.world.directory)
    wrong, right = made(certificates), certificates.make()
    place.name(_HERE)
    place.listen(tls=wrong)
    place.world.produce(event("1"), event("2"))
    connector = place.connector("https", SSL_CERT_FILE=str(certificates.trusted))

    said = connector.until_said("operator_needed", message=why)
    assert f"The certificate of {_NAME} is not valid" in said["message"]
    status, text = connector.page("/readyz")
    assert (status, text.strip()) == (503, said["message"])
    assert connector.page("/livez")[0] == 200
    assert place.world.sandbox.status()["tokens"] == 0
    assert place.world.has_committed_nothing()

    place.listen(tls=right)
    connector.until_resolved(delivered=2)
    eventually(lambda: connector.page("/readyz")[0] == 200, "it is ready")
    _check_account(place, "1", "2")
