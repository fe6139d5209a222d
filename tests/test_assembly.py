"""What a connector writes into ledgers, which must keep its meaning; and how its parts are set up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connector.assembly import contract_for, decoder_for, ledger_policy, read_settings
from connector.avro.encoding import EventEncoder
from connector.avro.schema_file import packaged
from connector.model import Flaw, Reason
from tests.amazon.inputs import a_purchase
from tests.avro.samples import EVENT
from tests.records import PolledRecord

ENVIRONMENT = {
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "KAFKA_TOPIC": "conversions",
    "SCHEMA_REGISTRY_URL": "http://localhost:8081",
    "AMAZON_ACCOUNT_ID": "5850000000001",
    "AMAZON_CLIENT_ID": "amzn1.application-oa2-client.example",
    "AMAZON_ACCESS_TOKEN": "example",
}


def test_fingerprints_are_frozen_because_ledgers_outlive_versions() -> None:
    policy = ledger_policy(read_settings(ENVIRONMENT))

    assert policy.destination.hex() == "90d4bb1b9fd6e72a5be5d1d962f125f1"
    assert policy.dedupe_key.hex() == "18fc610b2f5da797689d82e9bc88b91d"


@pytest.mark.parametrize(
    "change",
    [
        {"AMAZON_API": "events-v1"},
        {"AMAZON_BASE_URL": "https://proxy.example"},
        {"AMAZON_ACCOUNT_ID": "5850000000002"},
        {"AMAZON_DATASET_NAME": "Shop_Events"},
    ],
)
def test_contract_address_account_and_data_set_make_the_destination(change: dict[str, str]) -> None:
    assert (
        ledger_policy(read_settings(ENVIRONMENT | change)).destination
        != ledger_policy(read_settings(ENVIRONMENT)).destination
    )


def test_a_new_token_is_no_new_destination() -> None:
    renewed = ledger_policy(read_settings(ENVIRONMENT | {"AMAZON_ACCESS_TOKEN": "another"}))

    assert renewed.destination == ledger_policy(read_settings(ENVIRONMENT)).destination


@pytest.mark.parametrize("api", ["ads-v1", "events-v1"])
def test_the_wire_contract_is_told_what_becomes_of_events_without_consent(api: str) -> None:
    def encoded(**changes: str) -> bytes | Flaw:
        settings = read_settings(ENVIRONMENT | {"AMAZON_API": api} | changes)
        return contract_for(settings.amazon).encode(a_purchase(), "id")

    refused = encoded(AMAZON_REGION="EU")
    assert isinstance(refused, Flaw)
    assert refused.reason is Reason.MISSING_CONSENT
    denied = encoded(AMAZON_REGION="EU", AMAZON_MISSING_CONSENT="denied")
    assert isinstance(denied, bytes)
    assert b'"amznUserData":"DENIED"' in denied
    assert encoded(AMAZON_REGION="EU", AMAZON_MISSING_CONSENT="send") == encoded(AMAZON_REGION="NA")


def test_a_schema_file_is_read_once_at_start(tmp_path: Path) -> None:
    file = tmp_path / "event.avsc"
    file.write_text(json.dumps(packaged("conversion_event.avsc")))
    least = {name: value for name, value in ENVIRONMENT.items() if name != "SCHEMA_REGISTRY_URL"}
    settings = read_settings(least | {"AVRO_SCHEMA_FILE": str(file)})
    file.unlink()

    decoder, _ = decoder_for(settings, lambda _: None)

    assert decoder.decode(PolledRecord(EventEncoder().encode(EVENT))) == EVENT
