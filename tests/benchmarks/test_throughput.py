"""That the benchmark still runs and still compares like with like. No number of it passes or fails anything."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import orjson
from fastavro import parse_schema, schemaless_reader

from connector.amazon.ads_v1 import AdsV1
from connector.avro.encoding import EventEncoder
from connector.avro.schema_file import packaged
from connector.cli.samples import samples
from tests.benchmarks.sides import body, shaped
from tests.benchmarks.throughput import compare

_NOW_MS = 1_780_000_000_000


def test_both_sides_forward_and_commit_everything_between_the_same_surroundings() -> None:
    said: list[str] = []

    found = compare(2_000, rounds=1, warm_up=False, say=said.append)

    runs = [*found.connector, *found.bare_loop, *found.mixed]
    assert len(runs) == 3
    assert all(0 < run.acknowledged_seconds <= run.committed_seconds for run in runs)
    assert all(run.cpu_seconds > 0 and run.peak_bytes > 0 for run in runs)
    assert found.ratios == [found.bare_loop[0].acknowledged_seconds / found.connector[0].acknowledged_seconds]
    assert [line.split(":")[0] for line in said[1:]] == ["ours-0", "bare-0", "mixed-0"]


def test_the_bare_loop_sends_what_the_connector_sends() -> None:
    contract, encoder, schema = (
        AdsV1("account", "client", "NA"),
        EventEncoder(),
        parse_schema(packaged("conversion_event.avsc")),
    )

    for sample in samples(200, _NOW_MS, odd=False):
        assert sample.event is not None
        decoded: Any = schemaless_reader(BytesIO(encoder.encode(sample.event)), schema, None)
        ours = contract.encode(sample.event, str(sample.dedupe_id))
        assert isinstance(ours, bytes)
        assert orjson.loads(body([shaped(decoded)])) == {"events": [orjson.loads(ours)]}
