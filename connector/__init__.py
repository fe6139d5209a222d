"""Forwards Avro conversion events from Kafka to Amazon Ads."""
