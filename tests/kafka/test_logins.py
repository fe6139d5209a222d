"""User and password that change in their files: every client is told, and new clients are made with them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from connector.assembly import read_settings
from connector.config import Login, Settings
from connector.config.secret import SecretValue
from connector.errors import SettingsError
from connector.kafka import clients
from connector.kafka.cluster import Cluster
from connector.kafka.logins import LOGIN, Following, with_login
from connector.kafka.producer import ConfirmingProducer
from tests.patience import eventually

_LEAST = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    "KAFKA_TOPIC": "conversions",
    "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "SCHEMA_REGISTRY_URL": "http://127.0.0.1:9",
    "AMAZON_ACCOUNT_ID": "1",
    "AMAZON_CLIENT_ID": "client",
    "AMAZON_ACCESS_TOKEN": "token",
}


class _Client:
    """A client that notes the login that it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def set_sasl_credentials(self, username: str, password: str) -> None:
        self.told.append((username, password))


class _Files:
    def __init__(self, directory: Path) -> None:
        self.user, self.password = directory / "user", directory / "password"
        self.user.write_text("first")
        self.password.write_text("hidden one\n")

    def settings(self, **more: str) -> Settings:
        files = {"KAFKA_SASL_USERNAME_FILE": str(self.user), "KAFKA_SASL_PASSWORD_FILE": str(self.password)}
        return read_settings(_LEAST | files | more)


@pytest.fixture
def files(tmp_path: Path) -> _Files:
    return _Files(tmp_path)


def test_a_login_changes_with_either_file_and_outlives_a_file_that_is_gone_or_empty(files: _Files) -> None:
    login = files.settings().kafka.login
    assert login is not None
    assert login.current == ("first", "hidden one")
    assert not login.look()
    files.password.write_text("two")
    assert login.look()
    assert login.current == ("first", "two")
    files.user.unlink()
    files.password.write_text("")
    assert not login.look()
    files.user.write_text("second")
    assert login.look()
    assert login.current == ("second", "two")


def test_files_that_are_replaced_while_they_are_read_give_no_pair_of_old_and_new() -> None:
    users, passwords = iter(["old", "new", "new", "new"]), iter(["of the new"] * 4)
    login = Login(SecretValue("old", lambda: next(users)), SecretValue("of the old", lambda: next(passwords)))

    assert login.look() is False
    assert login.current == ("old", "of the old")
    assert login.look() is True
    assert login.current == ("new", "of the new")


def test_the_user_is_shown_and_the_password_is_not(files: _Files) -> None:
    settings = files.settings()
    shown = dict(settings.describe())
    assert (shown["KAFKA_SASL_USERNAME"], shown["KAFKA_SASL_PASSWORD"]) == ("first", "***")
    assert "hidden" not in repr(settings)


def test_a_login_of_the_environment_cannot_change() -> None:
    settings = read_settings(_LEAST | {"KAFKA_SASL_USERNAME": "first", "KAFKA_SASL_PASSWORD": "hidden one"})
    assert settings.kafka.login is None
    with pytest.raises(SettingsError, match="KAFKA_SASL_USERNAME_FILE names a file that cannot be read"):
        read_settings(_LEAST | {"KAFKA_SASL_USERNAME_FILE": "/no/file", "KAFKA_SASL_PASSWORD": "hidden one"})


def test_every_kind_of_client_is_made_with_the_login_of_that_moment(files: _Files) -> None:
    kafka = files.settings().kafka
    assert kafka.login is not None
    of_members = (
        clients.consumer_properties(kafka, lambda *_: None, cast("Any", None), 1_000_000),
        clients.reader_properties(kafka, lambda *_: None, cast("Any", None)),
        clients.producer_properties(kafka, lambda *_: None, cast("Any", None)),
    )
    files.password.write_text("two")
    kafka.login.look()
    for given in (with_login(each) for each in of_members):
        assert (given["sasl.username"], given["sasl.password"]) == ("first", "two")
        assert LOGIN not in given
    for make in (clients.admin, clients.offsets_reader):
        make(kafka)  # the client's library refuses a property that it does not know


def test_a_client_is_told_once_of_each_change(files: _Files) -> None:
    login, client = files.settings().kafka.login, _Client()
    assert login is not None
    following = Following(login)
    for password, told in (("hidden one", []), ("two", [("first", "two")]), ("two", [("first", "two")])):
        files.password.write_text(password)
        login.look()
        following.update(client)
        assert client.told == told
    Following(None).update(client)
    assert len(client.told) == 1


def test_the_producer_and_the_clients_that_ask_the_cluster_are_told(files: _Files) -> None:
    login = files.settings().kafka.login
    assert login is not None
    producing, asking, reading = _Client(), _Client(), _Client()
    producer = cast("Any", SimpleNamespace(poll=lambda _: 0, flush=lambda _: 0))
    producer.set_sasl_credentials = producing.set_sasl_credentials
    admin = cast("Any", SimpleNamespace(list_offsets=lambda *_, **__: {}))
    admin.set_sasl_credentials = asking.set_sasl_credentials
    place = SimpleNamespace(error=None, offset=7, leader_epoch=None, metadata="")
    offsets = cast("Any", SimpleNamespace(committed=lambda *_, **__: [place]))
    offsets.set_sasl_credentials = reading.set_sasl_credentials
    cluster = Cluster(lambda: admin, lambda: offsets, login=login)

    def ask() -> None:
        cluster.ends([])
        cluster.committed(cast("Any", ("conversions", 0)))

    with ConfirmingProducer({LOGIN: login}, last_seconds=0.0, make_client=lambda _: producer):
        ask()
        files.password.write_text("two")
        login.look()
        ask()
        eventually(lambda: producing.told, "the producer is told")
    assert producing.told == asking.told == reading.told == [("first", "two")]
