"""Whether the crate is there: without it and without cargo these tests are left out, and the end of the run says so."""

from __future__ import annotations

from tests.native.presence import LEFT_OUT

collect_ignore_glob = ["test_*.py"] if LEFT_OUT else []
