"""All that the program says: lines, metrics, and how lines are written.

messages  everything it can say: each thing its line, and its metric
metrics   what a scrape reads
logging   how lines are written, those of the libraries too
"""

from __future__ import annotations

from connector.telemetry.logging import configure_logging
from connector.telemetry.messages import Telemetry

__all__ = ["Telemetry", "configure_logging"]
