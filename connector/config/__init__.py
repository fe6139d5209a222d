"""Settings from the environment: parsed once into a frozen tree, or refused with every problem.

Each setting is declared once, as a field of a dataclass: its variable, its default, its kind and
its meaning. `SETTINGS` lists the declarations in order. ``--help`` and the pages about settings are
made from that list.

* `declaration` says what a declaration is, and reads any dataclass that is made of them.
* `kinds` parses single values: durations, sizes, topic names, URLs.
* `environment` holds the variables: service links left out, secrets taken from their files.
* `secret` reads a secret's file again whenever the secret is needed.
* `sources`, `destination` and `processing` declare the settings of a part each.
* `settings` is the tree of all settings.
* `checks` compares settings with each other.

The rules for a user:

* An empty variable counts as one that is not set.
* All problems come in one `SettingsError`. Each begins with its variable and says what to do.
* Every other ``KAFKA_…`` or ``SCHEMA_REGISTRY_…`` variable is a property of a library. The packages
  that own the libraries judge these properties, so nothing here imports a library.
* No secret appears in `Settings.describe`, in a ``repr``, in a note or in a problem.
"""

from __future__ import annotations

from connector.config.declaration import Setting
from connector.config.destination import Amazon
from connector.config.processing import DeadLetterSettings, LedgerSettings, Sending
from connector.config.secret import Login
from connector.config.settings import SETTINGS, Listen, Log, Settings, is_secret
from connector.config.sources import Kafka, RegistrySettings, TokenSettings

__all__ = [
    "SETTINGS",
    "Amazon",
    "DeadLetterSettings",
    "Kafka",
    "LedgerSettings",
    "Listen",
    "Log",
    "Login",
    "RegistrySettings",
    "Sending",
    "Setting",
    "Settings",
    "TokenSettings",
    "is_secret",
]
