"""The user and password of Kafka's clients, which may change in their files while clients use them.

A connection keeps the login that it was made with; the client's next connection uses the new one
(PLAIN, SCRAM). The thread that owns a client tells it (docs/operating.md#credentials-that-change).
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from connector.config import Login

__all__ = ["LOGIN", "Following", "with_login"]

LOGIN: Final = "connector.login"
"""Key of a client's `Login` among its properties; removed before the client is made."""


class _Client(Protocol):
    def set_sasl_credentials(self, username: str, password: str, /) -> None: ...


class Following:
    """Keeps one client's login up to date. Made just before the client."""

    def __init__(self, login: Login | None) -> None:
        self._login = login
        self._known = login.current if login is not None else ()

    def update(self, client: _Client) -> None:
        """Give the client its login if that has changed; cheap while it has not."""
        if self._login is not None and self._login.current is not self._known:
            self._known = self._login.current
            client.set_sasl_credentials(*self._known)


def with_login(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the properties with the current user and password, and without the `Login`."""
    login: Login | None = properties.get(LOGIN)
    if login is None:
        return properties
    user, password = login.current
    given = {name: value for name, value in properties.items() if name != LOGIN}
    return given | {"sasl.username": user, "sasl.password": password}
