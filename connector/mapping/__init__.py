"""Mapping: from a record of anybody's schema to the inputs of one event.

A mapping file is TOML; its expressions are JMESPath. Pure: a text comes in, and what it means comes out; no clock, no
chance, and no I/O but for the tables that a file names, which the caller reads.

* `syntax` parses an expression and finds what is wrong with it before any record is read;
* `functions` are those of JMESPath and those of the trade: lookup, time, money, consent;
* `closures` makes a Python function of a parsed expression;
* `paths` holds an expression against a writer's schema;
* `file` reads a mapping file, and names every problem at once;
* `plan` is a mapping file for one writer's schema: from a record to inputs, a flaw, or nothing.

Meant by ``presets/`` are mappings for well-known schemas, in files of the same form.
"""
