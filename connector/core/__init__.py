"""Every decision, and nothing else.

1. Everything that decides whether a record is sent, retried, dropped or committed lives here.
2. Nothing here does I/O, waits, logs, reads a clock or draws a random number. Time (`model.Moment`) and chance arrive as
   arguments; decisions leave as commands. No set is iterated where order shows: a seed must replay.
3. Nothing here knows that Kafka's client, Avro, HTTP or asyncio exist.

Start reading at ``pipeline.py``; the others are its parts:

    exchange     what the shell reports, what it is asked to do
    assignment   one partition while it is ours
    offsets      received, resolved, committable
    dedupe       seen, in flight, waiting
    doubts       whether a dedupe key tells events apart
    landmarks    entries that the ledger must still hold
    letters      what a dead letter says of its record, and what a replayed record says of its letter
    freshness    stale, implausible, and whether the wall clock may be believed
    dispatch     what is sent next, and when; composed of:
    batching     when a batch is full
    retry        how long to wait before sending again
    concurrency  how many requests at once
    breaker      when too many dead letters in a row mean that something else is wrong
    recovery     where an assignment starts, or why it must not
    statistics   what was counted
"""
