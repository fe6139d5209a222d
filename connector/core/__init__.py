"""Every decision, and nothing else.

1. Everything that decides whether a record is sent, retried, dropped or committed lives here.
2. Nothing here does I/O, waits, logs, reads a clock or draws a random number. Time (`model.Moment`)
   and chance arrive as arguments; decisions leave as commands. No set is iterated where order
   shows: a seed must replay.
3. Nothing here knows that Kafka's client, Avro, HTTP or asyncio exist.

Start reading at ``pipeline.py``; the others are its parts:

    inputs       what the shell reports
    commands     what the shell is asked to do
    policy       what the pipeline is told once
    runs         records that go on together, as columns
    assignment   one partition while it is ours; composed of:
    offsets        received, resolved, committable
    fact_log       facts on their way to the ledger
    letter_box     dead letters on their way to their topic
    refused_writes   what to do about a topic that takes no records
    dedupe         keys seen, in flight, waiting
    landmarks      what the ledger must still hold
    roster       all assignments: what they hold together, and which is due
    admission    records come in, each is judged
    freshness    stale, implausible
    outcomes     what becomes of each record
    doubts       dedupe keys that may identify nothing
    answers      what an answer of Amazon means for its events
    dispatch     what is sent next, and when; composed of:
    batching       when a batch is full
    request        events that are sent together
    retry          how long to wait before sending again
    concurrency    how many requests at once
    pace           how many requests a second may start
    breaker        when too many dead letters, or failures in a row, mean that something else is wrong
    blame          whether an event is at fault, or something that fails all
    broker_clock whether the wall clock may be believed, and the brokers answer
    recovery     where an assignment starts, or why it must not; composed of:
    commit_metadata  what a commit rests on
    statistics   what was counted
    status       what people are told
    expiry       when windows forget
    vouching     whether we are still a member of the group
    letters      the headers of a dead letter
"""
