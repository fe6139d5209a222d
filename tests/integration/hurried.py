"""The program that looks at its topics' settings whenever it can: ``python -m tests.integration.hurried run``."""

from __future__ import annotations

import sys
from unittest import mock

from connector.__main__ import main
from connector.kafka import monitor

if __name__ == "__main__":
    with mock.patch.object(monitor, "_TOPICS_SECONDS", 0.0):
        sys.exit(main())
