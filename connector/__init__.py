"""Forwards Avro conversion events from Kafka to Amazon Ads, losing none and counting none twice.

The flow, and the room each step lives in::

    Kafka topic ─▶ consumer thread ─▶ intake ─▶ pipeline ─▶ sink ─▶ Amazon
                   kafka/consumer     decode     core/       amazon/client
                                      avro/      decides        │ verdict per event
                                      encode                    ▼
                   commit  ◀──────────────────  facts ─▶ ledger topic (kafka/ledger)
                                                letters ─▶ dead-letter topic (kafka/dead_letters)

The guarantee: at least once to Amazon, with an idempotency key that makes it effectively once. No
event is ever lost. The offset of a record is committed only after its outcome is known and written
to the ledger. One asymmetry rules every choice: *a ledger that knows too little costs a second
send; a ledger that knows too much loses events.*

Where to start reading: ``core/pipeline.py`` (its laws, then `Pipeline.handle`), then
``runtime.py``, which feeds it, and ``app.py``, which runs it; ``assembly.py`` builds the parts.
``model.py`` has the nouns, ``errors.py`` the exceptions, ``ports.py`` the Protocols between the
parts.

Comments cite ``docs/`` by page and heading, such as docs/how-it-works.md#facts-first. Names in
capitals are those of docs/events.md#amazons-vocabulary: OAS is Amazon's OpenAPI text of July 2026,
SEG is Segment's connector, and AMZ- stands before Amazon's own samples and guides.
"""
