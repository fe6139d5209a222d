"""Avro, and nothing else knows of it: events decoded by their writer's schema, and the ledger's entries.

`framing` tells where the Avro bytes begin, `schemas` where a writer's schema comes from, `writer_schema` parses it and
refuses what cannot be read safely, `decoding` reads events by it and maps them to the inputs of
``schemas/conversion_event.avsc``, `encoding` writes sample events, `ledger_entry` keeps the format of the ledger.
"""
