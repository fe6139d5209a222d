"""Forwards Avro conversion events from Kafka to Amazon Ads, losing none and counting none twice.

The flow, and the room each step lives in::

    Kafka topic ─▶ consumer thread ─▶ intake ─▶ pipeline ─▶ sink ─▶ Amazon
                   kafka/consumer     decode     core/       amazon/client
                                      avro/      decides        │ verdict per event
                                      encode                    ▼
                   commit  ◀──────────────────  facts ─▶ ledger topic (kafka/ledger)
                                                letters ─▶ dead-letter topic (kafka/dead_letters)

The guarantee: at least once to Amazon, with an idempotency key that makes it effectively once. Nothing is ever lost. The
offset of a record is committed only after its fate is known and written down in the ledger. One asymmetry rules every
choice: *a ledger that knows too little costs a second send; a ledger that knows too much loses events.*

Where to start reading: ``core/pipeline.py`` (its laws, then `Pipeline.handle`), then ``runtime.py``, which feeds it, and
``app.py``, which puts everything together. ``model.py`` has the nouns, ``errors.py`` the exceptions, ``ports.py`` what the
parts ask of each other.

Texts here cite ``docs/`` by page and heading, such as docs/how-it-works.md#facts-first. Names in capitals (OAS is Amazon's
OpenAPI text of July 2026, SEG Segment's connector, AMZ- Amazon's own samples and guides) are those of
docs/events.md#amazons-vocabulary.
"""
