"""Parses expressions, and finds what is wrong with one before any record is read.

The grammar is JMESPath's, and its library parses. The library documents its tree as internal, so
its version is pinned, and a test checks the form of each node.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jmespath
from jmespath.exceptions import EmptyExpressionError, JMESPathError, LexerError, ParseError

from connector.mapping.currencies import MINOR_DIGITS
from connector.mapping.functions import EXPRESSION, FUNCTIONS
from connector.mapping.kinds import GIVES, NUMBER, TEXT
from connector.mapping.times import format_problem
from connector.mapping.values import Wrong

__all__ = [
    "Expression",
    "Tree",
    "Unparsable",
    "functions_used",
    "is_constant",
    "parse",
    "problems",
    "steps",
    "tables_used",
    "walk",
]

Tree = Any
"""A node of a parsed expression: a dict with ``type``, ``children`` and, for some, ``value``."""

_LONGEST: Final = 10_000
"""Maximum characters of an expression. The limit bounds the parser's recursion too."""


class Unparsable(Exception):
    """An expression does not follow the grammar. The text shows where."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression as written, and as parsed."""

    text: str
    tree: Tree


def parse(text: str) -> Expression:
    """Parse an expression.

    Raises:
        Unparsable: the text does not follow the grammar.
    """
    if len(text) > _LONGEST:
        raise Unparsable(f"is longer than {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PendingDeprecationWarning)
            return Expression(text, jmespath.compile(text).parsed)
    except PendingDeprecationWarning:
        raise Unparsable(
            f"{text}  ← the text between backquotes is not JSON; write a text in single quotes, such as 'PAID'"
        ) from None
    except EmptyExpressionError:
        raise Unparsable("is empty") from None
    except (LexerError, ParseError) as error:
        at = error.lexer_position if isinstance(error, LexerError) else error.lex_position
        at = min(at, len(text))
        hint = _advice(text, at)
        raise Unparsable(f"{text[: at + 1]}  ← cannot be read here (column {at + 1}){hint and f': {hint}'}") from None
    except RecursionError:
        raise Unparsable("is nested too deeply") from None
    except (JMESPathError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        # For some texts the library's parser raises Python's own errors.
        raise Unparsable(f"cannot be read ({type(error).__name__})") from None


_OTHER_LANGUAGES: Final[Sequence[tuple[str, str]]] = (
    (r"=", "write == to compare"),
    (r"(?:and|or|not|is|in)\b", "write && for and, || for or, ! for not, == `null` for is null"),
    (r"[+*/%]|-(?![0-9])", "there is no arithmetic: write multiply(x, y), divide(x, y) or sum([x, y])"),
    (r"-?[0-9]", "write a number between backquotes, such as `100`"),
    (r"[$.]", "a path begins with the name of a field"),
    (r"[{}]", "a path has no braces"),
    (r"\?", "there is no x ? y : z: write lookup() with a table, or a [[mapping]] of its own with when"),
    ("[\u2018\u2019\u201c\u201d]", "write straight quotes"),
)
"""What is written otherwise in other languages, and how it is written here."""


def _advice(text: str, at: int) -> str:
    """Return what to write instead of what cannot be read; empty if that cannot be told."""
    if _ends_a_name(text, at):
        return "put such a name in double quotes"
    before = text[:at].rstrip()
    if before.lower().endswith((" not", " is")) or before.lower() == "not":
        return _OTHER_LANGUAGES[1][1]
    if text[at : at + 1] == "-" and before[-1:] not in set("(,=<>&|![{:"):
        return _OTHER_LANGUAGES[2][1]
    return next((advice for form, advice in _OTHER_LANGUAGES if re.match(form, text[at:], re.IGNORECASE)), "")


def _ends_a_name(text: str, at: int) -> bool:
    """Return whether a name was cut short by a character that only a quoted name may have there."""
    before, here = text[at - 1 : at], text[at : at + 1]
    if before == "." and here.isdigit():
        return True
    return bool(here) and (here == "-" or (here.isalpha() and not here.isascii())) and (before.isalnum() or before in "_.")


def walk(tree: Tree) -> Iterator[Tree]:
    """Yield every node of a tree."""
    yield tree
    for child in tree["children"]:
        if isinstance(child, dict):
            yield from walk(child)


def functions_used(tree: Tree) -> set[str]:
    """Return the names of the functions that an expression calls."""
    return {node["value"] for node in walk(tree) if node["type"] == "function_expression"}


def steps(tree: Tree) -> list[Tree]:
    """Return the steps of a path such as ``a.b.c``; of any other expression, the expression."""
    if tree["type"] != "subexpression":
        return [tree]
    return [step for child in tree["children"] for step in steps(child)]


_OF_THE_RECORD: Final = {"header", "key", "record_time"}
"""Functions that differ from record to record of a topic."""


def is_constant(tree: Tree) -> bool:
    """Return whether an expression gives the same for every record, because it reads no record."""
    reads = {"field", "current", "identity", "index"}
    return not any(node["type"] in reads for node in walk(tree)) and functions_used(tree).isdisjoint(_OF_THE_RECORD)


def tables_used(tree: Tree) -> set[str]:
    """Return the names of the tables that an expression looks up."""
    return {
        str(node["children"][0].get("value"))
        for node in walk(tree)
        if node["type"] == "function_expression" and node["value"] == "lookup" and node["children"]
    }


def problems(
    tree: Tree, tables: Collection[str], *, consent: bool = False, amount: bool = False, condition: bool = False
) -> Iterator[str]:
    """Yield what is wrong with an expression, whatever the record.

    Some things are wrong in consent, in an amount or in a condition only.
    """
    for node in walk(tree):
        if node["type"] == "function_expression":
            yield from _call_problems(node, tables)
        elif node["type"] == "slice" and node["children"][2] == 0:
            yield "has a slice with a step of 0"
        elif node["type"] == "filter_projection":
            yield from _condition_problems(node["children"][2])
        elif node["type"] in _HAVE_A_LEFT and node["children"][0]["type"] == "not_expression":
            yield "has ! before a path, which negates its first part alone: write !(a.b) for !a.b"
        for child in node["children"]:
            if isinstance(child, dict) and child["type"] == "expref" and node["type"] != "function_expression":
                yield _NO_EXPREF
    if tree["type"] == "expref":
        yield _NO_EXPREF
    if consent:
        yield from _consent_problems(tree)
    if condition:
        yield from _condition_problems(tree)
    if amount and "to_number" in functions_used(tree):
        yield (
            "calls to_number(), which turns a text that is not a number into null: the purchase would be sent without it; "
            "write number()"
        )


_NO_EXPREF: Final = "has & in a wrong place: it may only be before an argument of map, sort_by, min_by and max_by"
_HAVE_A_LEFT: Final = {
    "subexpression",
    "index_expression",
    "projection",
    "value_projection",
    "filter_projection",
    "flatten",
}


def _call_problems(node: Tree, tables: Collection[str]) -> Iterator[str]:
    name, arguments = node["value"], node["children"]
    function = FUNCTIONS.get(name)
    if function is None:
        meant = _MEANT.get(name.lower()) or next(iter(difflib.get_close_matches(name, FUNCTIONS, n=1)), None)
        yield f"calls {name}(), which is not a function" + (f"; did you mean {meant}()?" if meant else "")
        return
    if wrong := function.arity_problem(len(arguments)):
        yield f"calls {name}() with {len(arguments)} argument{'s' * (len(arguments) != 1)}; it {wrong}"
        return
    for position, argument in enumerate(arguments):
        takes = function.takes[min(position, len(function.takes) - 1)]
        if (argument["type"] == "expref") is not (takes is EXPRESSION):
            yield _NO_EXPREF if argument["type"] == "expref" else f"calls {name}() without & before its expression"
    if name in _LITERALS and arguments:
        position = _LITERALS[name]
        if position < len(arguments):
            yield from _literal_problems(name, arguments[position], tables)

    if name == "from_minor_units" and arguments[1]["type"] == "literal":
        code = arguments[1]["value"]
        if isinstance(code, str) and code.strip().upper() not in MINOR_DIGITS:
            yield f"calls from_minor_units() with '{code}', which is not a currency of ISO 4217"


_MEANT: Final = {
    **dict.fromkeys(("coalesce", "ifnull", "nvl"), "not_null"),
    **dict.fromkeys(("concat", "concatenate"), "join"),
    **dict.fromkeys(("add", "plus"), "sum"),
    **dict.fromkeys(("count", "len", "size"), "length"),
    **dict.fromkeys(("cast", "decimal", "float", "int", "to_decimal"), "number"),
    **dict.fromkeys(("str", "string"), "to_string"),
    **dict.fromkeys(("date", "parse_time", "timestamp", "to_timestamp"), "time"),
}
"""What functions of other languages are called here."""

_LITERALS: Final = {"lookup": 0, "time": 1, "header": 0}
"""Functions with an argument that must be a literal, and the position of that argument."""


def _literal_problems(name: str, argument: Tree, tables: Collection[str]) -> Iterator[str]:
    if argument["type"] != "literal" or not isinstance(argument["value"], str):
        what = {"lookup": "the name of a table", "time": "its unit or format", "header": "the name of a header"}[name]
        yield f"calls {name}() without {what} as a text in single quotes"
    elif name == "lookup" and argument["value"] not in tables:
        close = difflib.get_close_matches(argument["value"], tables, n=1)
        hint = f"did you mean {close[0]}?" if close else "give it as [tables." + argument["value"] + "]"
        yield f"looks up {argument['value']}, which is not a table: {hint}"
    elif name == "time" and (wrong := format_problem(argument["value"])):
        yield f"calls time(): {wrong}"


def _condition_problems(tree: Tree) -> Iterator[str]:
    """Yield the parts of a condition that hold for nearly every record.

    JMESPath takes every number for true, 0 too, and every text but an empty one, "false" too.
    """
    name = tree.get("value")
    if tree["type"] in _LOGIC or (tree["type"] == "function_expression" and name == "not_null"):
        for child in tree["children"]:
            if child["type"] == "literal" and isinstance(child["value"], str):
                yield f"has '{child['value']}' as a condition, and a text is true: write x == 'a' || x == 'b'"
            yield from _condition_problems(child)
    elif tree["type"] == "function_expression" and (given := GIVES.get(name)) in (NUMBER, TEXT):
        what = "a number, which is true, 0 too" if given == NUMBER else f"a text, which is true, {_TRUE[name]} too"
        yield f"has {name}() as a condition, and it gives {what}: compare it with a value, or with `null`"


_LOGIC: Final = {"or_expression", "and_expression", "not_expression"}
_TRUE: Final = defaultdict(lambda: "'false'", granted="DENIED")

_NO_CONSENT: Final = {
    "or_expression": "has ||, which skips false: a denial would become the value after it; write not_null(a, b)",
    "and_expression": "has &&, to which the text DENIED is true: a denial could become a grant; write granted(a)",
    "not_expression": "has !, and !null is true: whoever was never asked would have granted; write granted(a == `false`)",
}


def _is_value(tree: Tree) -> bool:
    return bool(tree["type"] == "literal" and tree["value"] is not None)


def _looks_up(arguments: Sequence[Tree], name: str) -> bool:
    """Return whether the last argument of a function is given where a table has nothing."""
    return len(arguments) == 2 if name == "lookup" else any("lookup" in functions_used(each) for each in arguments)


def _grants(tree: Tree) -> bool:
    """Return whether an expression is a literal that grants."""
    try:
        return bool(tree["type"] == "literal" and FUNCTIONS["granted"].run(tree["value"]) == "GRANTED")
    except Wrong:
        return False


def _consent_problems(tree: Tree) -> Iterator[str]:
    """Yield what could turn a denial, or nothing, into a grant.

    The condition of a filter is exempt, because it only chooses among values.
    """
    if tree["type"] in _NO_CONSENT:
        yield _NO_CONSENT[tree["type"]]
    elif tree["type"] == "comparator" and tree["value"] == "ne":
        yield "has !=, and null differs from everything: whoever was never asked would have granted; write it with =="
    elif tree["type"] == "comparator" and tree["value"] == "eq" and not any(map(_is_value, tree["children"])):
        yield (
            "has == without a literal, or with null: it is true of two nulls, and whoever was never asked would have "
            "granted; compare with a value"
        )
    elif tree["type"] == "function_expression" and tree["value"] in ("lookup", "not_null"):
        if _looks_up(tree["children"][:-1], tree["value"]) and _grants(tree["children"][-1]):
            yield (
                "grants what a table does not have, and that may be a denial in another spelling: "
                "name every grant in the table, and give no default or 'DENIED'"
            )
    elif tree["type"] == "function_expression" and tree["value"] == "type":
        yield "calls type(), which does not tell a denial from a grant; compare with a value"
    elif tree["type"] == "function_expression" and tree["value"] == "max":
        yield "calls max(), to which GRANTED is more than DENIED: a denial would become a grant; write min()"
    children = tree["children"][:2] if tree["type"] == "filter_projection" else tree["children"]
    for child in children:
        if isinstance(child, dict):
            yield from _consent_problems(child)
