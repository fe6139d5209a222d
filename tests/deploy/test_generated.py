"""What is made from the code is what is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy import generated

_MADE = list(generated.made())


@pytest.mark.parametrize(("path", "text"), _MADE, ids=[path.name for path, _ in _MADE])
def test_what_is_generated_is_up_to_date(path: Path, text: str) -> None:
    assert path.read_text("utf-8") == text, "run: python -m tests.deploy.generated"
