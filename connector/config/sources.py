"""Settings of the cluster, of the tokens that clients log in with, and of the registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from connector.config import kinds
from connector.config.declaration import Variables, setting
from connector.config.secret import Login

__all__ = ["Kafka", "RegistrySettings", "TokenSettings"]

_AWS_TOKENS = "aws-msk-iam"
_MSK = re.compile(r"\.kafka(?:-serverless)?\.([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?(?::|,|$)")
"""The region in the name of a broker of Amazon MSK. A token is good in that region only."""


def _group(variables: Variables) -> str:
    host = kinds.host_of(variables.given("AMAZON_BASE_URL")).replace(":", "-")  # an IPv6 address has colons
    return f"amazon-conversions-{variables.given('AMAZON_ACCOUNT_ID')}{host and '-'}{host}"


def _token_region(variables: Variables) -> str:
    if variables.given("KAFKA_TOKEN_SOURCE") != _AWS_TOKENS:
        return ""
    found = _MSK.search(variables.given("KAFKA_BOOTSTRAP_SERVERS"))
    return found[1] if found else variables.given("AWS_REGION")


@dataclass(frozen=True, slots=True)
class Kafka:
    """The cluster, and the connector's place in it."""

    bootstrap_servers: str = setting(
        "KAFKA_BOOTSTRAP_SERVERS", kinds.SERVERS, "brokers, as host:port, separated by commas", required=True
    )
    topics: tuple[str, ...] = setting(
        "KAFKA_TOPIC", kinds.TOPICS, "source topic; separate several with commas", required=True
    )
    group_id: str = setting(
        "KAFKA_GROUP_ID",
        kinds.TEXT,
        "consumer group; use one for each destination",
        default="amazon-conversions-<account id>",
        derive=_group,
    )
    properties: Mapping[str, str] = setting(
        "KAFKA_…",
        kinds.properties("librdkafka"),
        "any other property of librdkafka: KAFKA_SASL_MECHANISM is sasl.mechanism",
        repr=False,
    )
    """Properties by their names in librdkafka. May contain secrets."""
    tokens: Callable[[str], tuple[str, float]] | None = field(default=None, repr=False, compare=False)
    """Gives every client the token that it logs in with; None without ``KAFKA_TOKEN_SOURCE``."""
    login: Login | None = field(default=None, repr=False, compare=False)
    """The SASL user and password, if one of them comes from a file, and may change there."""


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Where the tokens come from that Kafka's clients log in with."""

    source: str | None = setting(
        "KAFKA_TOKEN_SOURCE",
        kinds.optional(kinds.TOKEN_SOURCE),
        "source of login tokens: aws-msk-iam (extra aws), gcp-adc (extra gcp), or the file of a JWT, read at each refresh",
    )
    region: str | None = setting(
        "KAFKA_TOKEN_REGION",
        kinds.optional(kinds.TEXT),
        "AWS region, for KAFKA_TOKEN_SOURCE=aws-msk-iam",
        default="<by KAFKA_BOOTSTRAP_SERVERS or AWS_REGION>",
        derive=_token_region,
    )
    role_arn: str | None = setting(
        "KAFKA_TOKEN_ROLE_ARN", kinds.optional(kinds.TEXT), "AWS role to assume, for KAFKA_TOKEN_SOURCE=aws-msk-iam"
    )


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """The schema registry."""

    type: str = setting(
        "SCHEMA_REGISTRY_TYPE",
        kinds.word("confluent", "glue", "apicurio", "azure"),
        "API of the registry: confluent, glue (AWS; needs no SCHEMA_REGISTRY_URL), apicurio (its own API) or azure",
        default="confluent",
    )
    region: str | None = setting(
        "SCHEMA_REGISTRY_REGION",
        kinds.optional(kinds.TEXT),
        "AWS region, for SCHEMA_REGISTRY_TYPE=glue; without it, the region of the AWS environment",
    )
    role_arn: str | None = setting(
        "SCHEMA_REGISTRY_ROLE_ARN", kinds.optional(kinds.TEXT), "AWS role to assume, for SCHEMA_REGISTRY_TYPE=glue"
    )
    urls: tuple[str, ...] = setting(
        "SCHEMA_REGISTRY_URL",
        kinds.URLS,
        "address of the schema registry; without a registry, set AVRO_SCHEMA_FILE or AVRO_SCHEMA_DIR",
        repr=False,
    )
    others: Mapping[str, str] = setting(
        "SCHEMA_REGISTRY_…",
        kinds.properties("the registry client"),
        "any other property of the registry client: SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO is basic.auth.user.info",
        repr=False,
    )
    patience_seconds: float = setting(
        "UNKNOWN_SCHEMA_PATIENCE",
        kinds.seconds(0),
        "how long a record waits for a schema that the registry does not have yet",
        default="30s",
    )

    login: Login | None = field(default=None, repr=False, compare=False)
    """User and password in one text, if it comes from a file, and may change there."""

    @property
    def properties(self) -> Mapping[str, str]:
        """``url`` and the rest, by their names in the registry client. May contain secrets."""
        return {"url": ",".join(self.urls), **self.others}
