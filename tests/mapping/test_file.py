from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.mapping.file import MappingFile
from connector.mapping.functions import FUNCTIONS
from connector.mapping.reading import _DIRECTIVES, PRESETS
from connector.mapping.refusal import MappingRefused
from tests.mapping.support import example, read_file

ORDER = example("order")[0]
TILL = example("till")[0]


OURS = {name for name, function in FUNCTIONS.items() if function.ours} | {"lookup", "header", "key", "topic", "record_time"}


def problems(text: str, **tables: str) -> list[tuple[str, str]]:
    with pytest.raises(MappingRefused) as refused:
        read_file(text, **tables)
    return refused.value.problems


def one(text: str, **tables: str) -> tuple[str, str]:
    (found,) = problems(text, **tables)
    return found


def test_all_problems_come_in_one_message_each_with_its_place() -> None:
    text = (
        ORDER.replace("unitsSold =", "unitsSolds =")
        .replace('"total.amount"', '"total.amount + "')
        .replace("EMAIL =", "MAIL =")
    )
    with pytest.raises(MappingRefused) as refused:
        read_file(text)
    assert str(refused.value) == (
        "3 problems\n"
        "  mapping[0].fields.unitsSolds  is not an input; did you mean unitsSold?\n"
        "  mapping[0].fields.value       total.amount +  ← cannot be read here (column 14): there is no arithmetic: write "
        "multiply(x, y), divide(x, y) or sum([x, y])\n"
        "  mapping[0].matchKeys.MAIL     is not a match key of ads-v1; did you mean EMAIL?"
    )


NUMBERS = "write a number between backquotes, such as `100`"
ARITHMETIC = "there is no arithmetic: write multiply(x, y), divide(x, y) or sum([x, y])"
LOGIC = "write && for and, || for or, ! for not, == `null` for is null"


@pytest.mark.parametrize(
    ("before", "after", "place", "what"),
    [
        ("version = 1", "", "version", "is missing: write version = 1"),
        ("version = 1", "version = 2", "version", "must be the number 1, which is the only version"),
        (
            "version = 1",
            "version = 1\nfields = { value = 'total.amount' }",
            "fields",
            "belongs in a mapping: write [mapping.fields]",
        ),
        (
            "version = 1",
            "version = 1\nrecord = 'Order'",
            "record",
            "belongs directly below [[mapping]], above any [mapping.…]",
        ),
        (
            "when =",
            "otherwise = 'ignore'\nwhen =",
            "mapping[0].otherwise",
            "belongs at the top of the file, above the first [[mapping]]",
        ),
        (
            "[tables.source]",
            "when = 'orderId'\n[tables.source]",
            "mapping[0].customAttributes.when",
            "belongs directly below [[mapping]], above any [mapping.…]",
        ),
        (
            "[tables.source]",
            "[tables.source]\notherwise = 'ignore'",
            "tables.source.otherwise",
            "belongs at the top of the file, above the first [[mapping]]",
        ),
        (
            "[mapping.fields]",
            "[mapping.fields]\ntopic = 'orders'",
            "mapping[0].fields.topic",
            "belongs directly below [[mapping]], above any [mapping.…]",
        ),
        ("version = 1", "version = 1\notherwise = 'drop'", "otherwise", "takes 'dead-letter' or 'ignore'"),
        ("version = 1", "version = 1\nextra = 1", "extra", "is not a directive: version, otherwise, mapping, tables"),
        ("when =", "wen =", "mapping[0].wen", "is not a directive; did you mean when?"),
        ('record = "com.shop.orders.Order"', "record = 5", "mapping[0].record", "must be a name or a list of names"),
        ('record = "com.shop.orders.Order"', "topic = []", "mapping[0].topic", "must be a name or a list of names"),
        ('record = "com.shop.orders.Order"', 'inherit = "yes"', "mapping[0].inherit", "takes true or false"),
        (
            'record = "com.shop.orders.Order"',
            'extends = "ga3"',
            "mapping[0].extends",
            "is not a preset; did you mean ga4?",
        ),
        (
            'eventType = "OFF_AMAZON_PURCHASES"',
            'eventType = "SIGN_UPS"',
            "mapping[0].constants.eventType",
            "not one of Amazon's constants; did you mean SIGN_UP?",
        ),
        (
            'name = "Order"',
            'name = "Order"\nclientDedupeId = "1"',
            "mapping[0].constants.clientDedupeId",
            "would be the same for every event: it takes an expression, in fields",
        ),
        (
            'name = "Order"',
            'name = "Order"\nvalue = 5',
            "mapping[0].fields.value",
            "is in constants, too: give it once",
        ),
        (
            'name = "Order"\n',
            "",
            "mapping[0]",
            "gives no name, which every event needs: name it in fields or constants",
        ),
        (
            'value = "total.amount"',
            "value = 5",
            "mapping[0].fields.value",
            "is not an expression: put an expression in quotes, and a fixed value in [mapping.constants]",
        ),
        (
            "amznUserData =",
            "amznUser =",
            "mapping[0].consent.amznUser",
            "is not a signal of consent; did you mean amznUserData?",
        ),
        (
            "category =",
            '"a b" =',
            "mapping[0].customAttributes.a b",
            "is not a valid name of an attribute: use letters, digits and _ only",
        ),
        (
            "[tables.source]",
            "[mapping.customData]\nitems = 'lines'\n[tables.source]",
            "mapping[0].customData.items",
            'takes { value = "…", type = "STRING" }',
        ),
        (
            "[tables.source]",
            "[mapping.customData]\nitems = { value = 'orderId', type = 'INT' }\n[tables.source]",
            "mapping[0].customData.items.type",
            "must be STRING, INTEGER or TIMESTAMP",
        ),
        (
            "'source'",
            "'sources'",
            "mapping[0].fields.eventActionSource",
            "looks up sources, which is not a table: did you mean source?",
        ),
        ('WEB = "WEBSITE"', "WEB = []", "tables.source.WEB", "is neither a text, a number, true nor false"),
        (
            'clientDedupeId = "orderId"',
            'clientDedupeId = "to_string(record_time())"',
            "mapping[0].fields.clientDedupeId",
            "uses record_time(), which differs from copy to copy of a record: one order would count as two",
        ),
    ],
)
def test_each_problem_is_told(before: str, after: str, place: str, what: str) -> None:
    assert before in ORDER
    assert one(ORDER.replace(before, after)) == (place, what)


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("uper(orderId)", "calls uper(), which is not a function; did you mean upper()?"),
        ("coalesce(orderId)", "calls coalesce(), which is not a function; did you mean not_null()?"),
        (
            "from_minor_units(orderId, 'EURO')",
            "calls from_minor_units() with 'EURO', which is not a currency of ISO 4217",
        ),
        ("frobnicate(orderId)", "calls frobnicate(), which is not a function"),
        ("upper()", "calls upper() with 0 arguments; it takes 1 argument"),
        ("time(placedAt, 's', 's')", "calls time() with 3 arguments; it takes 1 or 2 arguments"),
        ("not_null()", "calls not_null() with 0 arguments; it takes at least 1 argument"),
        ("key(orderId)", "calls key() with 1 argument; it takes no arguments"),
        ("!a.b", "has ! before a path, which negates its first part alone: write !(a.b) for !a.b"),
        ("time(placedAt, unit)", "calls time() without its unit or format as a text in single quotes"),
        (
            "time(placedAt, 'h')",
            "calls time(): its second argument is 'd', 's', 'ms', 'us', 'ns', or a format such as '%d.%m.%Y %H:%M:%S %z'",
        ),
        (
            "time(placedAt, '%d.%m.%Y')",
            (
                "calls time(): its format gives no offset: add %z, or UTC or a Z at the end where the texts have it; where "
                "they have none and are UTC, write time(join('', [x, 'Z']), '…Z')"
            ),
        ),
        (
            "time(placedAt, '%d.%m.%Y %! %z')",
            (
                "calls time(): its format cannot be read: it takes the directives of C's strptime, each once (%m is the "
                "month, %M the minute)"
            ),
        ),
        (
            "time(placedAt, '%d.%m.%Y %H:%m %z')",
            (
                "calls time(): its format cannot be read: it takes the directives of C's strptime, each once (%m is the "
                "month, %M the minute)"
            ),
        ),
        *(
            (
                f"time(placedAt, '{unit}')",
                (
                    "calls time(): its format does not give the day: it needs %d, %m (not %M) and %Y, "
                    "or others that say as much"
                ),
            )
            for unit in ("%Y-%M-%d %z", "%H:%M:%S %z", "%d.%m. %H:%M UTC")
        ),
        (
            "time(placedAt, '%d.%m.%Y %I:%M %z')",
            "calls time(): its format gives half of the hour: write %H, or %p beside %I",
        ),
        (
            "time(placedAt, '%d.%m.%Y %H:%M %Z')",
            ("calls time(): its format has %Z, which reads the names of this machine's zone and gives no offset: write %z"),
        ),
        (
            "time(placedAt, '%d.%m.%Y %H:%M %%z')",
            (
                "calls time(): its format gives no offset: add %z, or UTC or a Z at the end where the texts have it; where "
                "they have none and are UTC, write time(join('', [x, 'Z']), '…Z')"
            ),
        ),
        (
            "to_number(amount)",
            (
                "calls to_number(), which turns a text that is not a number into null: the purchase would be sent without "
                "it; write number()"
            ),
        ),
        ("header(orderId)", "calls header() without the name of a header as a text in single quotes"),
        ("lookup(channel, orderId)", "calls lookup() without the name of a table as a text in single quotes"),
        ("lookup('shops', orderId)", "looks up shops, which is not a table: give it as [tables.shops]"),
        ("a[::0]", "has a slice with a step of 0"),
        ("&a", "has & in a wrong place: it may only be before an argument of map, sort_by, min_by and max_by"),
        ("sort_by(lines, price)", "calls sort_by() without & before its expression"),
        ("upper(&a)", "has & in a wrong place: it may only be before an argument of map, sort_by, min_by and max_by"),
        ("`PAID`", "`PAID`  ← the text between backquotes is not JSON; write a text in single quotes, such as 'PAID'"),
        ("a b", "a b  ← cannot be read here (column 3)"),
        ("a = b", "a =  ← cannot be read here (column 3): write == to compare"),
        ("a.24h", "a.2  ← cannot be read here (column 3): put such a name in double quotes"),
        ("a > 0", f"a > 0  ← cannot be read here (column 5): {NUMBERS}"),
        ("a > -5", f"a > -  ← cannot be read here (column 5): {NUMBERS}"),
        ("divide(a, 100)", f"divide(a, 1  ← cannot be read here (column 11): {NUMBERS}"),
        ("a - 5", f"a -  ← cannot be read here (column 3): {ARITHMETIC}"),
        ("a -5", f"a -  ← cannot be read here (column 3): {ARITHMETIC}"),
        ("a.b / `100`", f"a.b /  ← cannot be read here (column 5): {ARITHMETIC}"),
        ("a and b", f"a a  ← cannot be read here (column 3): {LOGIC}"),
        ("not a", f"not a  ← cannot be read here (column 5): {LOGIC}"),
        ("a is null", f"a i  ← cannot be read here (column 3): {LOGIC}"),
        ("$.a", "$  ← cannot be read here (column 1): a path begins with the name of a field"),
        ("{{a}}", "{{  ← cannot be read here (column 2): a path has no braces"),
        ("a == \u2018b\u2019", "a == \u2018  ← cannot be read here (column 6): write straight quotes"),
        ("a.", "a.  ← cannot be read here (column 3)"),
        ("a.größe", "a.grö  ← cannot be read here (column 5): put such a name in double quotes"),
        ("a.x-y", "a.x-  ← cannot be read here (column 4): put such a name in double quotes"),
        ("", "is empty"),
        ("(" * 5_000 + "a", "is nested too deeply"),
        ("a" * 10_001, "is longer than 10000 characters"),
    ],
)
def test_each_problem_of_an_expression_is_told(expression: str, what: str) -> None:
    line = 'value = "total.amount"'
    assert line in ORDER
    assert one(ORDER.replace(line, f'value = """{expression}"""')) == ("mapping[0].fields.value", what)


def test_an_expression_in_constants_is_told_to_be_no_constant() -> None:
    text = ORDER.replace('currencyCode = "total.currency"\n', "").replace(
        'name = "Order"', 'name = "Order"\ncurrencyCode = "total.currency"'
    )
    rule = "not a currency code of this contract"
    assert one(text) == (
        "mapping[0].constants.currencyCode",
        f"{rule}; a constant is sent as it stands: an expression belongs in [mapping.fields]",
    )


def test_what_makes_null_of_a_wrong_amount_may_make_other_inputs() -> None:
    read_file(ORDER.replace('clientDedupeId = "orderId"', 'clientDedupeId = "to_string(to_number(orderId))"'))


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("customer.marketingConsent || 'GRANTED'", "has ||"),
        ("customer.marketingConsent && 'GRANTED'", "has &&"),
        ("granted(!(customer.optedOut))", "has !,"),
        ("granted(customer.consent != 'no')", "has !=,"),
        ("granted(customer.consent == customer.asked)", "has == without a literal"),
        ("granted(customer.optedOutAt == `null`)", "has == without a literal, or with null"),
        ("granted(max([customer.email, customer.post]))", "calls max()"),
        ("granted(type(customer.optedOutAt) == 'null')", "calls type()"),
        ("lookup('source', customer.consent, 'GRANTED')", "grants what a table does not have"),
        ("granted(lookup('source', customer.consent, `true`))", "grants what a table does not have"),
        ("granted(lookup('source', customer.consent, 'opted in'))", "grants what a table does not have"),
        ("not_null(lookup('source', customer.consent), customer.other, 'yes')", "grants what a table does not have"),
    ],
)
def test_what_could_make_a_grant_of_a_denial_is_refused(expression: str, what: str) -> None:
    text = ORDER.replace('amznUserData = "granted(customer.marketingConsent)"', f'amznUserData = "{expression}"')
    place, told = one(text)
    assert (place, told[: len(what)]) == ("mapping[0].consent.amznUserData", what)


def test_a_consent_may_be_compared_with_a_value() -> None:
    line = 'amznUserData = "granted(customer.marketingConsent)"'
    assert line in ORDER
    assert isinstance(read_file(ORDER.replace(line, "amznUserData = \"granted(customer.consent == 'yes')\"")), MappingFile)


@pytest.mark.parametrize("default", ["", ", 'DENIED'", ", `false`", ", customer.other"])
def test_a_consent_may_be_looked_up_where_what_is_not_there_is_no_grant(default: str) -> None:
    line = 'amznUserData = "granted(customer.marketingConsent)"'
    read_file(ORDER.replace(line, f"amznUserData = \"granted(lookup('source', customer.consent{default}))\""))


@pytest.mark.parametrize(
    ("condition", "what"),
    [
        ("length(lines)", "has length() as a condition, and it gives a number, which is true, 0 too"),
        ("!sum(lines[].quantity)", "has sum() as a condition, and it gives a number, which is true, 0 too"),
        ("granted(customer.consent)", "has granted() as a condition, and it gives a text, which is true, DENIED too"),
        ("status == 'PAID' && lower(isTest)", "has lower() as a condition, and it gives a text, which is true, 'false' too"),
        (
            "not_null(header('test'), `false`)",
            "has header() as a condition, and it gives a text, which is true, 'false' too",
        ),
    ],
)
def test_a_condition_that_nearly_every_record_meets_is_refused(condition: str, what: str) -> None:
    (line,) = [line for line in ORDER.splitlines() if line.startswith("when")]
    text = ORDER.replace(line, f'when = "{condition}"')
    assert one(text) == ("mapping[0].when", f"{what}: compare it with a value, or with `null`")


def test_a_text_beside_a_comparison_is_told_to_be_compared() -> None:
    (line,) = [line for line in ORDER.splitlines() if line.startswith("when")]
    assert one(ORDER.replace(line, "when = \"status == 'PAID' || 'SHIPPED'\"")) == (
        "mapping[0].when",
        "has 'SHIPPED' as a condition, and a text is true: write x == 'a' || x == 'b'",
    )


def test_a_condition_of_a_filter_is_one_too() -> None:
    text = ORDER.replace("sum(lines[].quantity)", "sum(lines[?length(sku)].quantity)")
    assert one(text)[0] == "mapping[0].fields.unitsSold"


@pytest.mark.parametrize(
    "condition",
    [
        "length(lines) > `0`", "granted(customer.consent) == 'GRANTED'", "header('test') != `null`", "!(isTest)",
        "lookup('source', channel)", "contains(tags, 'web') || not_null(paid, `false`)", "(status || 'NEW') == 'PAID'",
    ],
)  # fmt: skip
def test_what_is_a_condition(condition: str) -> None:
    (line,) = [line for line in ORDER.splitlines() if line.startswith("when")]
    read_file(ORDER.replace(line, f'when = "{condition}"'))


OTHER = TILL.partition("[tables]")[0].replace("version = 1", "").replace("lookup('currency', after.store_id)", "'EUR'")
OTHER = OTHER.replace("lookup('country', after.store_id)", "'DE'")


@pytest.mark.parametrize(
    ("first", "second", "is_reached"),
    [
        ("", "", False),
        ("", 'when = "a == `1`"', False),
        ("", 'record = "x.Order"', False),
        ('record = ["x.Order", "x.Refund"]', 'record = "x.Order"\ntopic = "t"', False),
        ('when = "a == `1`"', 'when = "a == `1`"\nrecord = "x.Order"', False),
        ('when = "a == `1`"', "", True),
        ('when = "a == `1`"', 'when = "a == `2`"', True),
        ('record = "x.Order"', "", True),
        ('record = "x.Order"', 'record = ["x.Order", "x.Refund"]', True),
        ('topic = "t"', 'record = "x.Order"', True),
    ],
)
def test_a_mapping_that_is_never_taken_is_told(first: str, second: str, is_reached: bool) -> None:
    (line,) = [line for line in OTHER.splitlines() if line.startswith("when")]
    text = "version = 1\n" + "".join(OTHER.replace(line, each) for each in (first, second))
    if is_reached:
        assert isinstance(read_file(text), MappingFile)
    else:
        assert one(text) == ("mapping[1]", "is never taken: mapping[0] comes first and takes every such record")


def test_a_filter_within_a_consent_may_say_anything() -> None:
    envelope = example("envelope")[0]
    read_file(envelope.replace("[?purpose == 'tcf']", "[?!(other) && purpose != 'x' || purpose == 'tcf']"))


@pytest.mark.parametrize("text", ["version = ", "a = 1\na = 2", "x = [" * 100_000, "x = " + "9" * 5_000])
def test_what_is_no_toml_is_told_with_its_line(text: str) -> None:
    place, what = one(text)
    assert place == "the file"
    assert what.startswith("is not valid TOML: ")


@pytest.mark.parametrize(
    ("place", "expression"),
    [
        ("fields.clientDedupeId", "'orderId'"),
        ("fields.clientDedupeId", "join('-', ['web', topic()])"),
        ("fields.clientDedupeId", "lookup('source', 'WEB')"),
        ("fields.timestamp", "time('2026-11-05T13:03:07Z')"),
    ],
)
def test_what_would_be_the_same_for_every_event_is_told(place: str, expression: str) -> None:
    name = place.partition(".")[2]
    text = re.sub(rf'^{name} = ".*"$', f'{name} = "{expression}"', ORDER, flags=re.MULTILINE)
    assert one(text) == (
        f"mapping[0].{place}",
        "reads nothing of the record, so it would be the same for every event: a path has no single quotes",
    )


@pytest.mark.parametrize("expression", ["header('id')", "key()", "orderId", "to_string(@)", "values(@)[0]"])
def test_an_id_may_be_of_anything_in_the_record(expression: str) -> None:
    read_file(re.sub(r'^clientDedupeId = ".*"$', f'clientDedupeId = "{expression}"', ORDER, flags=re.MULTILINE))


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("a = 1\na = 2", "; give each name and each table once"),
        ("[a]\n[a]", "; give each name and each table once"),
        ("version: 1", '; write name = "…", and a name with blanks in quotes'),
        ('file = "C:\\users"', "; write a backslash twice, or put the text in single quotes"),
        ('{"version": 1}', '; each line is name = "…", or the name of a table in brackets'),
        ("[a", ")"),
    ],
)
def test_what_is_no_toml_is_told_with_what_to_do(text: str, advice: str) -> None:
    assert one(text)[1].endswith(advice)


def test_an_expression_without_quotes_is_told_to_have_some() -> None:
    assert one("when = paid && live")[1].endswith(
        "put expressions and texts in quotes, straight ones; 'a text' in an expression has single"
    )


@pytest.mark.parametrize(
    "text", ["version = 1", "version = 1\nmapping = []", "version = 1\nmapping = 3", "version = 1\nmapping = [1]"]
)
def test_a_file_needs_a_mapping(text: str) -> None:
    assert one(text) == ("mapping", "is missing: a file needs at least one [[mapping]]")


def test_a_mapping_in_single_brackets_is_told_to_have_two() -> None:
    assert one('version = 1\n[mapping]\nwhen = "a"\n') == ("mapping", "must be written [[mapping]], with double brackets")


def test_a_mapping_needs_a_match_key() -> None:
    text = "\n".join(line for line in TILL.splitlines() if not line.startswith(("EMAIL", "POSTAL")))
    assert one(text) == ("mapping[0]", "gives no match key, of which every event needs one: name one in matchKeys")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("store;currency\n17;EUR\n", "names store and currency, which stores.csv has no column for: it has store;currency"),
        ("store,name\n17,x\n", "names currency, which stores.csv has no column for: it has store, name"),
        ("store,currency\n17,EUR\n17,CHF\n", "has a key twice: line 3 of stores.csv"),
        ("store,currency\n17\n", "has a row without store and currency: line 2 of stores.csv"),
        ("store,currency,currency\n17,EUR,CHF\n", "names currency, for which stores.csv has several columns"),
        ('store,currency\n17,"EUR\n18,CHF\n', "names a file that is not CSV (unexpected end of data): stores.csv"),
        (
            "city,store,currency\nBerlin, DE,17,EUR\n",
            "has a row with more cells than columns (put a value with a comma in quotes): line 2 of stores.csv",
        ),
    ],
)
def test_a_table_in_a_file_is_looked_at(content: str, what: str) -> None:
    text = TILL
    assert one(text, **{"stores.csv": content})[0] == "tables.currency"
    assert one(text, **{"stores.csv": content})[1] == what


def test_empty_cells_at_the_end_of_a_row_do_no_harm() -> None:
    file = read_file(TILL, **{"stores.csv": "store,currency,name\n17,EUR,Köln,,\n"})
    assert file.tables["currency"] == {"17": "EUR"}


def test_blank_rows_blanks_around_cells_and_blank_values_are_nothing() -> None:
    """A blank currency would go out as none, past the default of its look-up."""
    file = read_file(TILL, **{"stores.csv": "store,currency\r\n 17 , EUR\r\n18,\r\n19,  \r\n,\r\n\r\n,\r\n"})
    assert file.tables["currency"] == {"17": "EUR"}


def test_every_wrong_row_of_a_table_is_told_up_to_five() -> None:
    rows = "".join(f"17,EUR\n{number}\n" for number in range(4))
    found = problems(TILL, **{"stores.csv": f"store,currency\n{rows}"})

    assert [what for _, what in found] == [
        "has a row without store and currency: line 3 of stores.csv",
        "has a key twice: line 4 of stores.csv",
        "has a row without store and currency: line 5 of stores.csv",
        "has a key twice: line 6 of stores.csv",
        "has a row without store and currency: line 7 of stores.csv",
        "has 2 more such rows: stores.csv",
    ]


@pytest.mark.parametrize(
    "table",
    [
        '{ file = "stores.csv", key = "store", val = "currency" }',
        '{ file = "stores.csv", key = "store" }',
        "{ file = 1, key = 'a', value = 'b' }",
    ],
)
def test_a_table_that_names_a_file_is_no_inline_table(table: str) -> None:
    """Taken for an inline table, it would find nothing for any key."""
    text = TILL.replace('{ file = "stores.csv", key = "store", value = "currency" }', table)
    assert one(text) == (
        "tables.currency",
        'takes { file = "…", key = "…", value = "…" }: a CSV file, and the names of two columns',
    )


def test_a_condition_that_is_a_literal_is_told() -> None:
    (line,) = [line for line in ORDER.splitlines() if line.startswith("when")]
    assert one(ORDER.replace(line, "when = \"'PAID'\"")) == (
        "mapping[0].when",
        "is the same for every record: leave it out, or compare a field with it",
    )


@pytest.mark.parametrize("directive", ['record = ""', 'topic = [" "]'])
def test_a_blank_name_is_told(directive: str) -> None:
    (_, what) = one(TILL.replace("[[mapping]]", f"[[mapping]]\n{directive}"))
    assert what == "must be a name or a list of names"


def test_a_preset_that_is_none_is_the_only_problem() -> None:
    assert one('version = 1\n[[mapping]]\nextends = "shopify"\n') == (
        "mapping[0].extends",
        "is not a preset: debezium, ga4, segment",
    )


def test_a_table_whose_file_is_not_there_is_told() -> None:
    assert one(TILL.replace("stores.csv", "shops.csv")) == (
        "tables.currency",
        "names a file that cannot be read (FileNotFoundError): shops.csv",
    )


def test_a_file_may_begin_with_a_byte_order_mark() -> None:
    assert read_file("\ufeff" + ORDER) == read_file(ORDER)


def test_a_table_may_begin_with_a_byte_order_mark() -> None:
    file = read_file(TILL, **{"stores.csv": "\ufeffstore,currency\n17,EUR\n"})
    assert file.tables["currency"] == {"17": "EUR"}


PRESET_TEXTS = {
    "ga4": 'version = 1\n[[mapping]]\nextends = "ga4"\n[mapping.constants]\ncountryCode = "DE"\n',
    "segment": 'version = 1\n[[mapping]]\nextends = "segment"\n[mapping.constants]\neventType = "LEAD"\n',
    "debezium": TILL.replace("[[mapping]]", '[[mapping]]\nextends = "debezium"'),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_files_of_the_same_form(name: str) -> None:
    assert isinstance(read_file(PRESET_TEXTS[name]), MappingFile)


def test_what_a_preset_says_is_overridden_by_name() -> None:
    text = PRESET_TEXTS["segment"] + (
        'eventActionSource = "OFFLINE"\ncountryCode = "DE"\n'
        "[mapping.fields]\nvalue = 'properties.revenue'\nunitsSold = false\n[mapping.matchKeys]\nMAID = false\n"
    )
    (route,) = read_file(text).routes
    fields = {each.name: each.expression.text for each in route.fields}
    assert route.constants == {"eventType": "LEAD", "eventActionSource": "OFFLINE", "countryCode": "DE"}
    assert fields["value"] == "properties.revenue"
    assert "unitsSold" not in fields
    assert "countryCode" not in fields
    assert "MAID" not in {each.name for each in route.match_keys}
    assert fields["clientDedupeId"] == "messageId"


@given(st.text(max_size=200), st.integers(0, len(ORDER)), st.integers(0, 60))
def test_any_text_is_read_or_refused(noise: str, at: int, length: int) -> None:
    for text in (noise, ORDER[:at] + noise + ORDER[at + length :]):
        with suppress(MappingRefused):
            assert read_file(text).routes


def test_the_blocks_of_the_documentation_are_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        assert read_file(block).routes


def test_the_documentation_has_every_function_of_ours_and_every_directive() -> None:
    page = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`+ ?(\w+)\(", page))
    assert named >= OURS
    assert set(_DIRECTIVES) <= set(re.findall(r"`\[?(?:mapping\.)?(\w+)\b", page))
