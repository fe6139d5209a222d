"""Our closures give what the library's interpreter gives, for any expression and document."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import jmespath
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from jmespath import Options
from jmespath.functions import Functions, signature

from connector.mapping.closures import closure
from connector.mapping.evaluation import Failed
from connector.mapping.syntax import parse, problems

NAMES = st.sampled_from("abcd")
INDICES = st.integers(-3, 3)
BOUNDS = st.none() | INDICES
LITERALS = st.sampled_from(
    [
        "@",
        "`1`",
        "`0`",
        "`1.5`",
        "`-2`",
        "'a'",
        "''",
        "'1'",
        "`[]`",
        "`{}`",
        "`null`",
        "`true`",
        "`false`",
        '`[1, "a", null]`',
    ]
)


def _slices(base: str, start: int | None, stop: int | None, step: int | None) -> str:
    first, second, third = ("" if each is None else each for each in (start, stop, step))
    return f"({base})[{first}:{second}:{third}]"


def _calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one = st.sampled_from(
        "abs avg ceil floor keys length max min not_null reverse sort to_array to_number type values".split()  # noqa: SIM905 - a table
    )
    two = st.sampled_from(["contains", "ends_with", "starts_with", "join", "merge", "not_null"])
    by = st.sampled_from(["sort_by", "min_by", "max_by"])
    return (
        st.builds("{}({})".format, one, inner)
        | st.builds("{}({}, {})".format, two, inner, inner)
        | st.builds("{}({}, &{})".format, by, inner, inner)
        | st.builds("map(&{}, {})".format, inner, inner)
    )


def _longer(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    order = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    return (
        st.builds("({}).{}".format, inner, NAMES)
        | st.builds("{}.{}".format, NAMES, NAMES)
        | st.builds("({})[{}]".format, inner, INDICES)
        | st.builds(_slices, inner, BOUNDS, BOUNDS, BOUNDS.filter(lambda step: step != 0))
        | st.builds("({})[]".format, inner)
        | st.builds("({})[].{}".format, inner, NAMES)
        | st.builds("({})[*].{}".format, inner, NAMES)
        | st.builds("({}).*".format, inner)
        | st.builds("({})[?{}].{}".format, inner, inner, NAMES)
        | st.builds("({}) | ({})".format, inner, inner)
        | st.builds("({}) || ({})".format, inner, inner)
        | st.builds("({}) && ({})".format, inner, inner)
        | st.builds("!({})".format, inner)
        | st.builds("({}) {} ({})".format, inner, order, inner)
        | st.builds("[{}, {}]".format, inner, inner)
        | st.builds("{{x: {}, y: {}}}".format, inner, inner)
        | _calls(inner)
    )


EXPRESSIONS = st.recursive(NAMES | LITERALS, _longer, max_leaves=6)
LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3, width=16) | st.text(alphabet="ab1 ", max_size=3)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, DOCUMENTS, min_size=2, max_size=4)


class Nothing:
    """No result: something is wrong with the expression for this document."""

    def __repr__(self) -> str:
        return "no result"


class _Strict(Functions):  # type: ignore[misc] # jmespath has no types
    """The library, where it checks only the first argument although JMESPath says what all are: objects."""

    @signature({"types": ["object"], "variadic": True})  # type: ignore[untyped-decorator] # jmespath has no types
    def _func_merge(self, *objects: Any) -> Any:
        if not all(isinstance(each, dict) for each in objects):
            raise TypeError("merge takes objects")
        return {name: value for each in objects for name, value in each.items()}


def the_librarys(text: str, document: Any) -> Any:
    try:
        return jmespath.search(text, document, Options(custom_functions=_Strict()))
    except Exception:
        return Nothing()


def ours(text: str, document: Any) -> Any:
    tree = parse(text).tree
    found = [each for each in problems(tree, ()) if not each.startswith("has ! before") and " as a condition" not in each]
    assert found == []
    try:
        return closure(tree, {})(document, None)
    except Failed:
        return Nothing()


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(EXPRESSIONS, OBJECTS)
@example("merge(c, a)", {"a": [], "c": {}})
def test_closures_return_what_the_library_returns(text: str, document: Any) -> None:
    expected = the_librarys(text, document)
    event("no result" if isinstance(expected, Nothing) else "null" if expected is None else "a result")
    assert repr(ours(text, document)) == repr(expected)


@given(DOCUMENTS.filter(lambda document: document is not None))
def test_a_text_is_made_as_the_library_does_but_for_null(document: Any) -> None:
    text = "to_string(a)"
    assert ours(text, {"a": document}) == the_librarys(text, {"a": document})


@pytest.mark.parametrize(
    ("text", "document", "result"),
    [
        ("sum(a)", {"a": []}, None),
        ("sum(a)", {"a": [Decimal("0.10"), Decimal("0.20")]}, Decimal("0.30")),
        ("sum(a)", {"a": [Decimal("0.1"), 0.2, 1]}, Decimal("1.3")),
        ("avg(a)", {"a": [Decimal("0.1"), Decimal("0.2")]}, Decimal("0.15")),
        ("max(a)", {"a": [Decimal("0.1"), 2, 0.5]}, 2),
        ("to_string(a)", {"a": Decimal("10.50")}, "10.50"),
        ("to_string(a)", {"a": Decimal("1E+2")}, "100"),
        ("a > `0.1`", {"a": Decimal("0.1")}, False),
        ("a >= `0.1`", {"a": Decimal("0.1")}, True),
        ("a == `0.1`", {"a": Decimal("0.1")}, True),
        ("`0.1` == a", {"a": Decimal("0.1")}, True),
        ("a == b", {"a": Decimal(1), "b": True}, False),
        ("a != 'x'", {"a": Decimal(1)}, True),
        ("abs(a)", {"a": Decimal("-0.1")}, Decimal("0.1")),
        ("type(a)", {"a": Decimal("-0.1")}, "number"),
        ("a && b", {"a": Decimal(0), "b": 1}, 1),
    ],
)
def test_decimals_are_numbers_and_stay_exact(text: str, document: Any, result: Any) -> None:
    found = ours(text, document)
    assert (type(found), found) == (type(result), result)


GIVEN = {"a": "secret", "b": 5, "d": [1, "secret"], "e": b"secret", "f": True, "g": float("nan")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("divide(a, b)", "divide() got a text"),
        ("divide(b, `0`)", "divide() by zero"),
        ("upper(join(c, a))", "join() got null"),
        ("a < b", "a comparison got a text and a number"),
        ("e > `1`", "a comparison got bytes and a number"),
        ("e == `0`", "a comparison got bytes and a number"),
        ("b != e", "a comparison got a number and bytes"),
        ("g > `0`", "a comparison got NaN"),
        ("g <= g", "a comparison got NaN"),
        ("divide(g, `100`) < `0.5`", "a comparison got NaN"),
        ("join('-', d)", "join() got an array with a number in it"),
        ("sum(c)", "sum() got null"),
        ("to_string(e)", "to_string() got bytes: write hex(…) or text(…)"),
        ("to_string([e])", "to_string() got bytes within it"),
        ("length(e)", "length() got bytes"),
        ("max_by(d, &@ == `1`)", "max_by() got a boolean to sort by"),
        ("max_by([b, a], &@)", "max_by() got a value that it cannot take"),
        ("contains(a, b)", "contains() got a number to find in a text"),
        ("multiply(b, f)", "multiply() got a boolean"),
    ],
)
def test_what_is_wrong_is_said_with_function_and_kind_and_never_with_a_value(text: str, says: str) -> None:
    with pytest.raises(Failed) as failed:
        closure(parse(text).tree, {})(GIVEN, None)
    assert str(failed.value) == says
    assert "secret" not in repr(failed.value.__cause__)


def test_only_the_alternative_that_is_needed_is_evaluated() -> None:
    assert ours("a || abs('x')", {"a": 1}) == 1
    assert ours("a && abs('x')", {"a": False}) is False
