from __future__ import annotations

from typing import Any

import pytest
from jmespath import ast

from connector.mapping.closures import closure
from connector.mapping.syntax import functions_used, parse, tables_used, walk


def field(name: str) -> dict[str, Any]:
    return {"type": "field", "children": [], "value": name}


A, B = field("a"), field("b")
IDENTITY = {"type": "identity", "children": []}
CURRENT = {"type": "current", "children": []}


def node(kind: str, *children: Any, value: Any = ...) -> dict[str, Any]:
    return {"type": kind, "children": list(children)} | ({} if value is ... else {"value": value})


SHAPES = {
    "a": A,
    "@": CURRENT,
    "`1`": node("literal", value=1),
    "'a'": node("literal", value="a"),
    "a.b": node("subexpression", A, B),
    "a.b.a": node("subexpression", A, B, A),
    "a[0]": node("index_expression", A, node("index", value=0)),
    "a[0:1]": node("projection", node("index_expression", A, node("slice", 0, 1, None)), IDENTITY),
    "a[*].b": node("projection", A, B),
    "a[].b": node("projection", node("flatten", A), B),
    "a.*": node("value_projection", A, IDENTITY),
    "a[?b].a": node("filter_projection", A, A, B),
    "a || b": node("or_expression", A, B),
    "a && b": node("and_expression", A, B),
    "!a": node("not_expression", A),
    "a | b": node("pipe", A, B),
    "a == b": node("comparator", A, B, value="eq"),
    "a >= b": node("comparator", A, B, value="gte"),
    "[a, b]": node("multi_select_list", A, B),
    "{x: a}": node("multi_select_dict", node("key_val_pair", A, value="x")),
    "map(&a, b)": node("function_expression", node("expref", A), B, value="map"),
}
KINDS = 22
"""Kinds of nodes of the library's tree."""


@pytest.mark.parametrize("text", SHAPES)
def test_the_librarys_tree_has_the_form_that_closures_are_made_of(text: str) -> None:
    tree = parse(text).tree
    assert tree == SHAPES[text]
    closure(tree, {})


def test_every_kind_of_node_is_among_them() -> None:
    kinds = {each["type"] for text in SHAPES for each in walk(parse(text).tree)}
    makers = [name for name, made in vars(ast).items() if callable(made) and not name.startswith("_")]
    assert len(kinds) == len(makers) == KINDS


def test_what_an_expression_uses_is_known() -> None:
    tree = parse("upper(lookup('shops', to_string(a))) || lookup('others', map(&lookup('inner', @), b))").tree
    assert functions_used(tree) == {"upper", "lookup", "to_string", "map"}
    assert tables_used(tree) == {"shops", "others", "inner"}
