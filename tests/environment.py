"""The fewest variables that make settings, for tests that are about others."""

__all__ = ["LEAST"]

LEAST = {
    "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "KAFKA_TOPIC": "conversions",
    "SCHEMA_REGISTRY_URL": "https://registry",
    "AMAZON_ACCOUNT_ID": "1",
    "AMAZON_CLIENT_ID": "client",
    "AMAZON_ACCESS_TOKEN": "token",
}
