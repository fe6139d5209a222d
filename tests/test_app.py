"""What the composition root writes into ledgers: it must mean the same in every version."""

from __future__ import annotations

import pytest

from connector.app import ledger_policy, read_settings

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
