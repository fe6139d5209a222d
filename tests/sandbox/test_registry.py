"""The stand-in registry as the official client sees it: the real ``SchemaRegistryClient``, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.sandbox import Faults, RunningSandbox, serve

ORDER = '{"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}'
LEAD = '{"type": "record", "name": "Lead", "fields": [{"name": "id", "type": "long"}]}'


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    running = await serve()
    yield running
    await running.stop()


@pytest.fixture
async def client(sandbox: RunningSandbox) -> AsyncIterator[SchemaRegistryClient]:
    made = SchemaRegistryClient({"url": sandbox.registry_url, "max.retries": 0, "timeout": 5})
    yield made
    await asyncio.to_thread(made.close)


async def refusal(call: object, *arguments: object) -> tuple[int, int]:
    with pytest.raises(SchemaRegistryError) as caught:
        await asyncio.to_thread(call, *arguments)  # type: ignore[arg-type]  # any method of the client
    return caught.value.http_status_code, caught.value.error_code


async def test_a_registered_schema_is_fetched_by_its_id(client: SchemaRegistryClient) -> None:
    schema_id = await asyncio.to_thread(client.register_schema, "orders-value", Schema(ORDER, "AVRO"))
    client.clear_caches()
    fetched = await asyncio.to_thread(client.get_schema, schema_id)
    assert (fetched.schema_str, fetched.schema_type) == (ORDER, "AVRO")


async def test_a_schema_is_fetched_within_its_subject_and_with_a_format(client: SchemaRegistryClient) -> None:
    schema_id = await asyncio.to_thread(client.register_schema, "orders-value", Schema(ORDER, "AVRO"))
    client.clear_caches()
    assert (await asyncio.to_thread(client.get_schema, schema_id, "orders-value", "resolved")).schema_str == ORDER
    assert await refusal(client.get_schema, schema_id, "leads-value") == (404, 40403)


async def test_an_unknown_id_is_refused_with_40403(client: SchemaRegistryClient) -> None:
    assert await refusal(client.get_schema, 7) == (404, 40403)


async def test_equal_schemas_share_an_id_and_others_do_not(sandbox: RunningSandbox, client: SchemaRegistryClient) -> None:
    first = sandbox.registry.register("orders-value", ORDER)
    assert await asyncio.to_thread(client.register_schema, "returns-value", Schema(ORDER, "AVRO")) == first
    assert await asyncio.to_thread(client.register_schema, "orders-value", Schema(LEAD, "AVRO")) != first


async def test_a_schema_registered_again_is_no_new_version(sandbox: RunningSandbox, client: SchemaRegistryClient) -> None:
    sandbox.registry.register("orders-value", ORDER)
    await asyncio.to_thread(client.register_schema, "orders-value", Schema(ORDER, "AVRO"))
    assert (await asyncio.to_thread(client.get_latest_version, "orders-value")).version == 1


async def test_the_latest_version_and_any_version_are_found(sandbox: RunningSandbox, client: SchemaRegistryClient) -> None:
    sandbox.registry.register("orders-value", ORDER)
    second = sandbox.registry.register("orders-value", LEAD)
    latest = await asyncio.to_thread(client.get_latest_version, "orders-value")
    assert (latest.subject, latest.version, latest.schema_id) == ("orders-value", 2, second)
    assert latest.schema is not None
    assert latest.schema.schema_str == LEAD
    assert (await asyncio.to_thread(client.get_version, "orders-value", 1)).version == 1
    assert await refusal(client.get_version, "orders-value", 3) == (404, 40402)
    assert await refusal(client.get_version, "orders-value", 0) == (422, 42202)
    assert await refusal(client.get_latest_version, "leads-value") == (404, 40401)


async def test_a_subject_may_hold_a_slash(client: SchemaRegistryClient) -> None:
    await asyncio.to_thread(client.register_schema, "shop/orders value", Schema(ORDER, "AVRO"))
    assert (await asyncio.to_thread(client.get_latest_version, "shop/orders value")).subject == "shop/orders value"


async def test_references_come_back_and_must_be_registered(sandbox: RunningSandbox, client: SchemaRegistryClient) -> None:
    basket = '{"type": "record", "name": "Basket", "fields": [{"name": "order", "type": "Order"}]}'
    schema = Schema(basket, "AVRO", [SchemaReference("Order", "orders-value", 1)])
    assert await refusal(client.register_schema, "baskets-value", schema) == (422, 42201)
    sandbox.registry.register("orders-value", ORDER)
    schema_id = await asyncio.to_thread(client.register_schema, "baskets-value", schema)
    client.clear_caches()
    references = (await asyncio.to_thread(client.get_schema, schema_id)).references
    assert references is not None
    assert [(one.name, one.subject, one.version) for one in references] == [("Order", "orders-value", 1)]


async def test_what_is_no_avro_schema_is_refused(client: SchemaRegistryClient) -> None:
    assert await refusal(client.register_schema, "s", Schema("{", "AVRO")) == (422, 42201)
    assert await refusal(client.register_schema, "s", Schema('syntax = "proto3";', "PROTOBUF")) == (422, 42201)


async def test_a_registry_that_is_down_says_503_until_it_is_up(
    sandbox: RunningSandbox, client: SchemaRegistryClient
) -> None:
    schema_id = sandbox.registry.register("orders-value", ORDER)
    sandbox.faults = Faults(registry_down=True)
    assert (await refusal(client.get_schema, schema_id))[0] == 503
    sandbox.faults = Faults()
    assert (await asyncio.to_thread(client.get_schema, schema_id)).schema_str == ORDER
