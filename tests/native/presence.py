"""Whether the tests of the crate can run. Where cargo is, they must."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

__all__ = ["LEFT_OUT"]

LEFT_OUT = find_spec("connector_native") is None and shutil.which("cargo") is None
