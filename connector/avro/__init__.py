"""Everything about Avro: events decoded by their writer's schema, and entries of the ledger.

- `framing` finds where the Avro bytes of a value begin, and the id of their schema.
- `registry` fetches a writer's schema from a registry. It uses a `registry_connection`, which asks
  one question at a time, and the `registry_client` or that of `glue`, `azure` and `apicurio`.
  `deadline` limits the time for a question.
- `vendor` has what the clients of `glue` and `azure` share.
- `schema_file` and `schema_directory` read schemas from files.
- `writer_schema` parses a writer's schema and refuses what cannot be read safely.
- `decoding` decodes events by it and maps them to the inputs of ``schemas/conversion_event.avsc``.
  `inputs` says which field is which input, `logical` converts logical types, and `layout` describes
  a schema to native code.
- `encoding` writes sample events; `files` reads events from files.
- `ledger_entry` encodes and decodes entries of the ledger; `varint` has its numbers.
"""
