"""``make bench-mapping``: what a mapping file costs an event, beside the library's own interpreter and the unmapped path.

The event is the order of the first worked example: 18 inputs by expressions, and a condition. Times are the processor's,
and the least of many rounds in which all sides take turns, for the machine may be shared. The collector is set as `run` sets
it. Last come the worked examples from bytes to payloads, in Python and with native code.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jmespath

from connector.app import settle_garbage
from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.codec import BatchCodec
from connector.intake import Intake, Origin
from connector.mapping.closures import closure
from connector.mapping.plan import Mapper
from connector.mapping.syntax import functions_used
from connector.model import TopicPartition
from connector.native import codec_for
from tests.avro.samples import EVENT, Known, ours, written
from tests.mapping.support import CHARGE, CONTRACT, ORDER, SIGN_UP, TILL, Record, example, read_file
from tests.records import PolledRecord

__all__ = ["Measured", "main", "measure", "whole"]

_EVENTS = 50
_OURS = {"lookup", "granted", "sum"}
"""Functions that the library lacks, or whose meaning differs for decimals."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Microseconds an event."""

    unmapped: float
    """Decoding an event of our schema, without a mapping file."""
    decoded: float
    """Decoding the order."""
    mapped: float
    """Decoding and mapping the order."""
    inputs: int
    library: float
    """Only those inputs that the library knows, by its interpreter, of an order that is decoded already."""
    library_inputs: int
    same: float
    """The same inputs by the closures."""

    @property
    def mapping(self) -> float:
        """What the mapping adds to decoding."""
        return self.mapped - self.decoded

    @property
    def ratio(self) -> float:
        """What the closures cost in proportion to the library's interpreter, for the same expressions."""
        return self.same / self.library


def measure(rounds: int) -> Measured:
    """Measure all sides in turns."""
    settle_garbage()
    text, schema = example("order")
    file = read_file(text)
    (route,) = file.routes
    mapper = Mapper(file)
    mapped = EventDecoder(Framing.CONFLUENT, Known(id1=schema), mapper)
    plain = EventDecoder(Framing.CONFLUENT, Known(id1=schema))
    unmapped = EventDecoder(Framing.CONFLUENT, Known(id1=ours()))
    order, event = Record(value_=written(schema, copy.deepcopy(ORDER))), PolledRecord(written(ours(), EVENT))
    known = [each for each in route.inputs if not functions_used(each.expression.tree) & _OURS]
    compiled = [jmespath.compile(each.expression.text) for each in known]
    value = plain.decode(order)
    closures = [closure(each.expression.tree, file.tables) for each in known]
    sides: list[Callable[[], object]] = [
        lambda: unmapped.decode(event),
        lambda: plain.decode(order),
        lambda: mapped.decode(order),
        lambda: [each.search(value) for each in compiled],
        lambda: [each(value, order) for each in closures],
    ]
    least = [float("inf")] * len(sides)
    for _ in range(rounds):
        for number, side in enumerate(sides):
            least[number] = min(least[number], _microseconds(side))
    return Measured(least[0], least[1], least[2], len(route.inputs), least[3], len(known), least[4])


def whole(name: str, event: dict[str, Any], rounds: int) -> tuple[float, float]:
    """Return the microseconds from bytes to payload of a worked example: in Python, and with the parts of ``CODEC=auto``."""
    text, schema = example(name)
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=schema), Mapper(read_file(text)))
    make, fields = codec_for("auto").make, ("clientDedupeId",)
    batches = None if make is None else BatchCodec(make, decoder, CONTRACT, fields)
    records = [Record(value_=written(schema, _of_person(event, number))) for number in range(_EVENTS)]
    origin = Origin(TopicPartition("orders", 0), 1, "cluster", "topic-id")
    sides = [Intake(decoder, CONTRACT, fields), Intake(decoder, CONTRACT, fields, batches=batches)]
    least = [float("inf")] * len(sides)
    for _ in range(rounds):
        for number, side in enumerate(sides):
            began = time.process_time()
            side.read(origin, records)
            least[number] = min(least[number], (time.process_time() - began) / _EVENTS * 1e6)
    return least[0], least[1]


_OF_A_PERSON: Final = {
    "Jo@Example.com": "Jo{0}@Example.com",
    "Jo": "Jo{1}",
    "Müller": "Müller{1}",
    "Hauptstr. 1": "Hauptstr. {0}",
    "50667": "5{0:04}",
    "10115": "1{0:04}",
}


def _of_person(value: Any, number: int) -> Any:
    """Return a copy of an event with the identifiers of a person of its own: equal ones of a poll are hashed once."""
    if isinstance(value, dict):
        return {name: _of_person(part, number) for name, part in value.items()}
    if isinstance(value, list):
        return [_of_person(part, number) for part in value]
    if isinstance(value, str) and value in _OF_A_PERSON:
        return _OF_A_PERSON[value].format(number, chr(ord("a") + number % 26) * (1 + number // 26))
    return value


def _microseconds(side: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(_EVENTS):
        side()
    return (time.process_time() - began) / _EVENTS * 1e6


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=600)
    found = measure(parser.parse_args(arguments).rounds)
    print(f"unmapped, our schema       {found.unmapped:6.1f} µs an event")
    print(f"the order, decoded         {found.decoded:6.1f}")
    print(f"the order, mapped          {found.mapped:6.1f}")
    share = found.mapping / found.unmapped
    print(f"mapping, {found.inputs} inputs         {found.mapping:6.1f}   = {share:.2f} of the unmapped path")
    print(f"library, {found.library_inputs} of them         {found.library:6.1f}")
    print(f"closures, the same {found.library_inputs}      {found.same:6.1f}   = {found.ratio:.2f} of the library's")
    for name, event in (("order", ORDER), ("envelope", SIGN_UP), ("till", TILL), ("charge", CHARGE)):
        python, native = whole(name, event, parser.parse_args(arguments).rounds // 10 + 1)
        print(f"{name + ', whole':<20}       {python:6.1f}   with native code {native:6.1f}   = {native / python:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
