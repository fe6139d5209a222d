"""What clients of vendors' registries share, in the form that `registry.Registry` expects.

These clients limit each connection and each read, but nothing limits a question as a whole: its
look-up of a name, a body that trickles in, retries, and the search for credentials. So each
question is asked in a thread of its own, and waited for up to a deadline. While one hangs, no other
is asked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.avro.framing import SchemaId
from connector.avro.registry_client import QUESTION_SECONDS
from connector.avro.writer_schema import Json
from connector.daemon import in_daemon

__all__ = ["VendorApi"]


class VendorApi(ABC):
    """A `connector.avro.registry_connection.RegistryApi` over a vendor's client."""

    probed: SchemaId

    def __init__(self, client: Any, question_seconds: float = QUESTION_SECONDS) -> None:
        self._client = client
        self._seconds = question_seconds
        self._hanging: Future[Json] | None = None

    def path(self, schema_id: SchemaId) -> str:
        """Return what to pass to `get` for a schema."""
        return str(schema_id)

    def get(self, path: str) -> Json:
        """Return a schema, as Confluent's registry would.

        Raises:
            SchemaRegistryError: with the codes of Confluent's registry: 404 and 40403 if there is
                no such schema, 401 or 403 if this client may not ask.
            TimeoutError: no answer came in time.
        """
        return self._answer(partial(self._ask, path))

    @abstractmethod
    def newest(self, topic: str) -> Json:
        """Return the newest schema of a topic in the same form.

        Return None if the registry cannot tell it.
        """

    def _answer(self, ask: Callable[[], Json]) -> Json:
        """Return what the vendor's client answers; raises as `get` does."""
        if self._hanging is not None and not self._hanging.done():
            raise TimeoutError
        self._hanging = asked = in_daemon(ask, "schema-registry")
        try:
            return asked.result(self._seconds)
        except Exception as error:
            refusal = self._refusal(error)
            if refusal is None:
                raise
            raise refusal from None
        finally:
            if asked.done():  # an error keeps all frames that it came through
                self._hanging = None

    @abstractmethod
    def _ask(self, path: str) -> Json:
        """Ask the vendor's client. Blocks."""

    @abstractmethod
    def _refusal(self, error: Exception) -> SchemaRegistryError | None:
        """Return what an error of the vendor's client says; None if no answer came."""
