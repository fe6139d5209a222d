"""`connector run`: the connector itself. ``connector run --help`` lists its settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from connector import app
from connector.config import SETTINGS

__all__ = ["run", "set_up"]


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description of the command. It has settings, and no options."""
    parser.description = "Forward events until SIGTERM, then drain and exit with 0. Settings come from the environment:"
    parser.epilog = _settings_text()
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(_arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Run the connector until a signal; return the exit code.

    Raises:
        SettingsError: with every problem of the settings.
    """
    return app.run(environ)


def _settings_text() -> str:
    width = max(len(setting.name) for setting in SETTINGS)
    lines = []
    for setting in SETTINGS:
        default = "required" if setting.required else setting.default and f"default: {setting.default}"
        lines.append(f"  {setting.name:<{width}}  {setting.meaning}" + (f" ({default})" if default else ""))
    secrets = ", ".join(setting.name for setting in SETTINGS if setting.secret)
    return "settings:\n" + "\n".join(lines) + f"\n\nSecrets ({secrets}) may come from the file named by <NAME>_FILE."
