"""The environment's variables: which are settings, which hold secrets, and which are ignored."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from connector.config.declaration import FAMILY, Setting
from connector.config.secret import SecretValue, content_of, text_of, trimmed

__all__ = ["IN_FILES_TOO", "SECRET_PROPERTY", "Environment", "is_secret_property"]

_OWN = "AMAZON_"
"""With this prefix, a variable that is not a setting is a mistake."""
_LIBRARIES = ("KAFKA_", "SCHEMA_REGISTRY_")
"""With these prefixes, a variable that is not a setting is a property of a library."""
_UNDERSCORED = frozenset({"log_level"})
"""The properties of librdkafka that can be given as text and have an underscore in their name."""

SECRET_PROPERTY = re.compile(
    r"password|passphrase|secret|\.pem$|user\.info$|bearer\.auth\.token$|oauthbearer\.config$|endpoint\.query$"
)
"""Found in the name of a library's property whose value must never be shown."""
_USER = re.compile(r"//.*@", re.DOTALL)
"""The user in one URL or several. It ends at the last @: a password may contain any character."""
_QUERY = re.compile(r"(://[^?#]*)[?#].*", re.DOTALL)
"""What follows the path of a URL. It may be a key."""

IN_FILES_TOO = frozenset({"KAFKA_SASL_USERNAME"})
"""Variables that are not secret, but change together with a secret."""

_UNREADABLE = "-"
"""Stands for a secret whose file is unusable, so that the secret is not reported as missing too."""


class Environment:
    """The variables, and the problems and notes that arise while settings are read from them.

    Service links of Kubernetes are ignored, empty variables are left out, and ``<NAME>_FILE`` is
    replaced by the secret in that file.
    """

    def __init__(self, environ: Mapping[str, str], settings: Iterable[Setting]) -> None:
        self.problems: list[str] = []
        """Messages that begin with a variable."""
        self.notes: list[str] = []
        """Messages for the log at start."""
        self.rows: list[tuple[str, str]] = []
        """Each setting that has a value, and the value as it may be shown."""
        self._settings = {setting.name: setting for setting in settings}
        links = {name for name in environ if _is_service_link(name, environ)}
        ours = sorted(name for name in links if name.startswith((_OWN, *_LIBRARIES)) or name in self._settings)
        if ours:
            self.notes.append(f"Kubernetes service links are ignored: {', '.join(ours)}")
        given = {name: trimmed(value) for name, value in environ.items() if name not in links}
        self._values = {name: value for name, value in given.items() if value}
        self._files: dict[str, Callable[[], str]] = {}
        self.unread: set[str] = set()
        """Secrets whose files are unusable, which was said. What stands for them proves nothing."""
        self._take_secrets_from_files()

    def given(self, name: str) -> str:
        """Return the value of a variable; empty if it is not set."""
        return self._values.get(name, "")

    def text(self, name: str) -> str:
        """Return the value of a variable, or the default of its setting."""
        setting = self._settings[name]
        return self.given(name) or (setting.derive(self) if setting.derive else setting.default)

    def family(self, name: str, *, show: bool = False) -> dict[str, str]:
        """Return a library's properties, by their names there: lower case, dots for underscores."""
        prefix, found = name.removesuffix(FAMILY), {}
        for variable, value in sorted(self._values.items()):
            if variable.startswith(prefix) and variable not in self._settings:
                found[_property(variable)] = value
                if show:
                    self._show(variable, value)
        return found

    def rotating(self, *names: str) -> tuple[SecretValue, ...]:
        """Return the values of these variables, if one of them comes from a file.

        Return nothing otherwise.
        """
        if self._files.keys().isdisjoint(names):
            return ()
        return tuple(SecretValue(self.given(name), self._files.get(name)) for name in names)

    def value(self, setting: Setting) -> Any:
        """Return the value of a setting.

        Return a stand-in, and record the problem, if it is refused.
        """
        name = setting.name
        if name.endswith(FAMILY):
            return self.family(name, show=True)
        text = self.text(name)
        if text:
            self._show(name, text)
        elif setting.required:
            self._refuse(name, f"is missing: {setting.meaning}")
        value = setting.kind.parse(text, self._say_nothing if name in self.unread else partial(self._refuse, name))
        return replace(value, read=self._files.get(name)) if setting.secret else value

    def refuse_unknown(self) -> None:
        """Refuse each variable that looks like a setting and is none."""
        known = [one.name for one in self._settings.values() if one.name.startswith(_OWN)]
        known += [f"{name}_FILE" for name in known if self._settings[name].secret]
        ends = [name.removeprefix(_OWN) for name in known]
        for name in sorted(self._values):
            if name.startswith(_OWN) and name not in self._settings:
                close = difflib.get_close_matches(name.removeprefix(_OWN), ends, n=1)
                self._refuse(name, f"is not a setting: {f'did you mean {_OWN}{close[0]}?' if close else 'remove it'}")

    def _take_secrets_from_files(self) -> None:
        for variable in [name for name in self._values if name.endswith("_FILE")]:
            name = variable.removesuffix("_FILE")
            if not self._is_secret(name) and name not in IN_FILES_TOO:
                continue
            path = self._values.pop(variable)
            if name in self._values:
                self._refuse(variable, f"and {name} are both set: remove one of them")
                continue
            self._files[name] = partial(content_of, Path(path))
            content = self._secret_in(variable, path, self._files[name])
            self._values[name] = content or _UNREADABLE
            if not content:
                self.unread.add(name)

    def _secret_in(self, variable: str, path: str, read: Callable[[], str]) -> str:
        try:
            content = text_of(read)
        except OSError as error:
            self._refuse(variable, f"names a file that cannot be read ({type(error).__name__}): {path}")
        except ValueError:
            self._refuse(variable, f"names a file that is not UTF-8 text (it may be UTF-16): save it as UTF-8: {path}")
        else:
            if not content:
                self._refuse(variable, f"names an empty file: {path}")
            return content
        return ""

    def _say_nothing(self, _what: str) -> None:
        """Record no problem."""

    def _refuse(self, name: str, what: str) -> None:
        self.problems.append(f"{name} {what}")

    def _show(self, name: str, value: str) -> None:
        setting = self._settings.get(name)
        if setting is not None and setting.kind.shown is not None:
            shown = setting.kind.shown(value)
        elif self._is_secret(name):
            shown = "***"
        else:
            shown = _QUERY.sub(r"\1?***", _USER.sub("//***@", value))
        self.rows.append((name, shown))

    def _is_secret(self, name: str) -> bool:
        return self._settings[name].secret if name in self._settings else is_secret_property(name)


def is_secret_property(name: str) -> bool:
    """Return whether a variable is a property of a library whose value must never be shown."""
    return name.startswith(_LIBRARIES) and SECRET_PROPERTY.search(_property(name)) is not None


def _property(name: str) -> str:
    prefix = next(prefix for prefix in _LIBRARIES if name.startswith(prefix))
    words = name.removeprefix(prefix).lower()
    return words if words in _UNDERSCORED else words.replace("_", ".")


def _is_service_link(name: str, environ: Mapping[str, str]) -> bool:
    """Return whether Kubernetes sets this variable for a service of the namespace."""
    if re.fullmatch(r".+_SERVICE_(HOST|PORT(_.+)?)", name):
        return True
    port = re.fullmatch(r"(.+?_PORT)(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?", name)
    return port is not None and environ.get(port[1], "").startswith(("tcp://", "udp://", "sctp://"))
