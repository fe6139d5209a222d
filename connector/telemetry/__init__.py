"""Log lines and metrics: everything that the program reports.

history   the last hour, in samples
overview  what the page and ``connector top`` show
messages  each event that can be reported, with its log line and its metric
metrics   what a scrape reads
logging   the format of log lines, including those of the libraries
"""

from __future__ import annotations

from connector.telemetry.logging import configure_logging
from connector.telemetry.messages import Telemetry

__all__ = ["Telemetry", "configure_logging"]
