"""Finds the native parts, a crate of Rust, or their equals in Python.

Both give the same answers (docs/development.md#the-native-part), so it is never wrong to run
without the crate. It only costs time and memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from connector.codec import NativeCodec
from connector.core.dedupe import Seen, SeenKeys
from connector.errors import SettingsError

__all__ = ["INTERFACE", "Codec", "codec_for"]

INTERFACE: Final = 6
"""Version of the crate's interface; the crate must have the same. Raise both with each change."""


@dataclass(frozen=True, slots=True)
class Codec:
    """The implementation that reads plain records and keeps the dedupe window."""

    name: str
    """Either ``native`` or ``python``."""
    message: str
    """One line for the log and for `connector check`."""
    seen: Callable[[], Seen]
    """Returns an empty set of keys seen."""
    make: Callable[[dict[str, Any]], NativeCodec] | None = None
    """Makes the codec of a writer's schema; None if records are read in Python only."""

    @property
    def is_second_best(self) -> bool:
        """Whether native code is missing although the settings do not switch it off."""
        return self.name == "python" and self.message != _SWITCHED_OFF


_SWITCHED_OFF = "Python reads all records and keeps the dedupe window (CODEC=python)"
_NATIVE = "native code reads plain records and keeps the dedupe window"
_SLOWER = (
    "Python reads all records and keeps the dedupe window, because {}: an event takes more work, and a key 110 bytes "
    "instead of 20"
)


def codec_for(asked: str) -> Codec:
    """Return the native parts if ``CODEC`` allows them and they are installed; else Python's.

    Raises:
        SettingsError: ``CODEC`` is native, and they are not installed.
    """
    if asked == "python":
        return Codec("python", _SWITCHED_OFF, SeenKeys)
    try:
        import connector_native  # noqa: PLC0415 - it may be missing, and CODEC=python must not even load it
    except ModuleNotFoundError:
        lacking = "connector_native is not installed"
    except ImportError as error:
        lacking = f"connector_native cannot be loaded ({error})"
    else:
        if connector_native.INTERFACE == INTERFACE:
            return Codec("native", _NATIVE, connector_native.SeenKeys, connector_native.Codec)
        lacking = "connector_native was built for another version"
    if asked == "native":
        raise SettingsError([f"CODEC is native, but {lacking}: run make install where cargo is, or remove CODEC"])
    return Codec("python", _SLOWER.format(lacking), SeenKeys)
