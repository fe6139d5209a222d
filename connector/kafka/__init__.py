"""Everything that knows Kafka's client: the consumer's thread, the ledger, the dead letters, the topics.

``confluent_kafka``'s errors are translated here, by code, never by text.
"""
