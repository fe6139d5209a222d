"""JMESPath's own compliance suite: our closures beside the library, which passes all of it.

The suite is that of ``github.com/jmespath/go-jmespath`` v0.4.0, unchanged, with its licence.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jmespath
import pytest
from jmespath.exceptions import JMESPathError

from connector.mapping.closures import closure
from connector.mapping.evaluation import Failed
from connector.mapping.syntax import Unparsable, parse, problems

DIRECTORY = Path(__file__).parent / "compliance"

DIFFERENT = {"sum(`[]`)": None}
"""Our result where it is meant to be another: no units known is not no units sold."""


def cases() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    for file in sorted(DIRECTORY.glob("*.json")):
        for suite in json.loads(file.read_text(encoding="utf-8")):
            for case in suite["cases"]:
                yield file.stem, suite["given"], case


CASES = list(cases())


class Refused(Exception):
    """Our parser, our checks or our closures say that something is wrong."""


def ours(text: str, given: Any) -> Any:
    try:
        expression = parse(text)
    except Unparsable as error:
        if "is not JSON" not in str(error):
            raise Refused from error
        with warnings.catch_warnings():
            # The suite has literals of a deprecated form, which a mapping file may not have.
            warnings.simplefilter("ignore")
            tree = jmespath.compile(text).parsed
    else:
        tree = expression.tree
    if list(problems(tree, ())):
        raise Refused
    try:
        return closure(tree, {})(given, None)
    except Failed as error:
        raise Refused from error


def test_the_suite_is_whole() -> None:
    assert len(CASES) == 862
    assert len({name for name, _, _ in CASES}) == 16


@pytest.mark.parametrize("name", sorted({name for name, _, _ in CASES}))
def test_closures_return_what_the_suite_says(name: str) -> None:
    for _, given, case in (each for each in CASES if each[0] == name):
        text = case["expression"]
        if "error" in case:
            with pytest.raises(Refused):
                ours(text, given)
        elif "result" in case:
            assert ours(text, given) == DIFFERENT.get(text, case["result"]), text
        else:
            ours(text, given)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("name", sorted({name for name, _, _ in CASES}))
def test_the_library_returns_what_the_suite_says(name: str) -> None:
    for _, given, case in (each for each in CASES if each[0] == name):
        if "error" in case:
            with pytest.raises((JMESPathError, ValueError)):
                jmespath.search(case["expression"], given)
        elif "result" in case:
            assert jmespath.search(case["expression"], given) == case["result"], case["expression"]
