//! Evaluates the expressions of a mapping file on the bytes of a record (`connector/mapping/native_terms.py` tells them).
//!
//! `connector/mapping/closures.py` says what an expression gives. Here a record is declined wherever one fails, and wherever
//! it meets a value for which that is not obvious: a number of a float, a letter beyond ASCII whose case would change.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString};

use crate::avro::{Cursor, Field, Got, Node, UUID_BYTES};
use crate::codec::{No, Why};

const NO: No = No::Declined(Why::Mapping);

/// What an expression gives.
#[derive(Clone)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Digits, and how many of them are decimals.
    Decimal(i128, u32),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    /// An array, a map or a record, which is read where something is taken from it.
    At(&'a Node, Cursor<'a>),
    List(Vec<Value<'a>>),
}

const MOST_DECIMAL_BYTES: usize = 16;

/// Powers of ten that a double holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21,
    1e22,
];
/// Up to here a double holds every integer.
const MOST_EXACT: u128 = 1 << 53;

fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
        }
    }
}

impl<'a> Value<'a> {
    /// Read the value that begins at a cursor, or remember where it is.
    fn load(node: &'a Node, mut cursor: Cursor<'a>) -> Got<Self> {
        Ok(match cursor.branch(node)? {
            Node::Null => Value::Null,
            Node::Boolean => Value::Bool(cursor.boolean()?),
            Node::Float => Value::Float(cursor.float()?),
            Node::Double => Value::Float(cursor.double()?),
            Node::Text => Value::Text(Cow::Borrowed(cursor.text()?)),
            Node::Symbols(names) => Value::Text(Cow::Borrowed(names.get(cursor.size()?).ok_or(NO)?)),
            Node::Bytes => Value::Bytes(cursor.sized()?),
            Node::Fixed(size) => Value::Bytes(cursor.take(*size)?),
            Node::Uuid => {
                let bytes = cursor.take(UUID_BYTES)?;
                let mut text = String::with_capacity(36);
                for (number, part) in [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]].iter().enumerate()
                {
                    if number > 0 {
                        text.push('-');
                    }
                    hex(part, &mut text);
                }
                Value::Text(Cow::Owned(text))
            }
            Node::Decimal(scale, of) => {
                let bytes = match **of {
                    Node::Bytes => cursor.sized()?,
                    Node::Fixed(size) => cursor.take(size)?,
                    _ => return Err(NO),
                };
                if bytes.is_empty() || bytes.len() > MOST_DECIMAL_BYTES {
                    return Err(NO);
                }
                let negative = bytes.first().is_some_and(|&byte| byte > 0x7F);
                let digits =
                    bytes.iter().fold(if negative { -1 } else { 0 }, |digits: i128, &byte| (digits << 8) | i128::from(byte));
                Value::Decimal(digits, *scale)
            }
            Node::Time(units, of) => Value::Int(cursor.integer(of).ok_or(NO)??.div_euclid(*units)),
            node @ (Node::Array(_) | Node::Map(_) | Node::Record(_)) => Value::At(node, cursor),
            node => Value::Int(cursor.integer(node).ok_or(NO)??),
        })
    }

    fn step(self, step: &Step) -> Got<Self> {
        match (self, step) {
            (Value::Null, _) => Ok(Value::Null),
            (Value::At(Node::Record(fields), mut cursor), Step::Field(wanted)) => {
                let (before, from) = fields.split_at_checked(*wanted).ok_or(NO)?;
                for field in before {
                    cursor.skip(&field.node)?;
                }
                Value::load(&from.first().ok_or(NO)?.node, cursor)
            }
            (Value::At(Node::Map(node), mut cursor), Step::Key(wanted)) => {
                let mut found = Value::Null;
                loop {
                    let count = cursor.block()?;
                    if count == 0 {
                        return Ok(found);
                    }
                    for _ in 0..count {
                        if cursor.text()? == wanted {
                            found = Value::load(node, cursor)?; // of a name that is there twice, the last
                        }
                        cursor.skip(node)?;
                    }
                }
            }
            _ => Err(NO),
        }
    }

    /// The items of an array; None if it is none.
    fn items(&self) -> Got<Option<Vec<Value<'a>>>> {
        let (item, mut cursor) = match self {
            Value::List(items) => return Ok(Some(items.clone())),
            Value::At(Node::Array(item), cursor) => (item, *cursor),
            _ => return Ok(None),
        };
        let mut items = Vec::new();
        loop {
            let count = cursor.block()?;
            if count == 0 {
                return Ok(Some(items));
            }
            for _ in 0..count {
                items.push(Value::load(item, cursor)?);
                cursor.skip(item)?;
            }
        }
    }

    fn is_false(&self) -> Got<bool> {
        Ok(match self {
            Value::Null | Value::Bool(false) => true,
            Value::Text(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
            Value::At(..) | Value::Bytes(_) => return Err(NO),
            _ => false,
        })
    }

    /// A number's digits and decimals; None if it is none. A float is declined.
    fn number(&self) -> Got<Option<(i128, u32)>> {
        match self {
            Value::Int(number) => Ok(Some((i128::from(*number), 0))),
            Value::Decimal(digits, scale) => Ok(Some((*digits, *scale))),
            Value::Float(_) => Err(NO),
            _ => Ok(None),
        }
    }

    /// The double that is nearest to a number; None for null.
    pub fn amount(&self) -> Got<Option<f64>> {
        match self {
            Value::Null => Ok(None),
            Value::Int(number) => Ok(Some(*number as f64)),
            Value::Float(number) => Ok(Some(*number)),
            Value::Decimal(digits, scale) => match TENS.get(*scale as usize) {
                Some(ten) if digits.unsigned_abs() <= MOST_EXACT => Ok(Some(*digits as f64 / ten)),
                _ => Err(NO),
            },
            _ => Err(NO),
        }
    }

    /// A whole number; None for null.
    pub fn whole(&self) -> Got<Option<i64>> {
        match self {
            Value::Null => Ok(None),
            Value::Int(number) => Ok(Some(*number)),
            _ => Err(NO),
        }
    }

    /// A text; None for null.
    pub fn text(self) -> Got<Option<Cow<'a, str>>> {
        match self {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            _ => Err(NO),
        }
    }

    fn must_be_text(self) -> Got<Cow<'a, str>> {
        self.text()?.ok_or(NO)
    }

    /// What `to_string` gives.
    fn spelt(self) -> Got<Cow<'a, str>> {
        match self {
            Value::Text(text) => Ok(text),
            Value::Int(number) => Ok(Cow::Owned(number.to_string())),
            Value::Bool(is_so) => Ok(Cow::Borrowed(if is_so { "true" } else { "false" })),
            _ => Err(NO),
        }
    }
}

fn compared((one, scale): (i128, u32), (other, other_scale): (i128, u32)) -> Got<Ordering> {
    let scaled = |digits: i128, by: u32| 10_i128.checked_pow(by).and_then(|ten| digits.checked_mul(ten)).ok_or(NO);
    Ok(scaled(one, other_scale.saturating_sub(scale))?.cmp(&scaled(other, scale.saturating_sub(other_scale))?))
}

fn equal(one: &Value<'_>, other: &Value<'_>) -> Got<bool> {
    Ok(match (one, other) {
        (Value::At(..) | Value::List(_) | Value::Bytes(_), _) | (_, Value::At(..) | Value::List(_) | Value::Bytes(_)) => {
            return Err(NO)
        }
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Null, Value::Null) => true,
        (Value::Text(one), Value::Text(other)) => one == other,
        _ => match (one.number()?, other.number()?) {
            (Some(one), Some(other)) => compared(one, other)? == Ordering::Equal,
            _ => false,
        },
    })
}

/// How one value stands to another; None if that is null.
fn order(one: &Value<'_>, other: &Value<'_>) -> Got<Option<Ordering>> {
    if let (Value::Text(one), Value::Text(other)) = (one, other) {
        return Ok(Some(one.cmp(other)));
    }
    match (one.number()?, other.number()?) {
        (Some(one), Some(other)) => compared(one, other).map(Some),
        _ if matches!(one, Value::Null | Value::Bool(_)) || matches!(other, Value::Null | Value::Bool(_)) => Ok(None),
        _ => Err(NO),
    }
}

enum Step {
    Field(usize),
    Key(String),
}

pub enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl Constant {
    pub fn read(told: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(if told.is_none() {
            Constant::Null
        } else if told.is_instance_of::<PyBool>() {
            Constant::Bool(told.extract()?)
        } else if told.is_instance_of::<PyInt>() {
            Constant::Int(told.extract()?)
        } else if told.is_instance_of::<PyFloat>() {
            Constant::Float(told.extract()?)
        } else if told.is_instance_of::<PyString>() {
            Constant::Text(told.extract()?)
        } else {
            return Err(PyValueError::new_err("a constant that is not known"));
        })
    }

    fn value(&self) -> Value<'_> {
        match self {
            Constant::Null => Value::Null,
            Constant::Bool(is_so) => Value::Bool(*is_so),
            Constant::Int(number) => Value::Int(*number),
            Constant::Float(number) => Value::Float(*number),
            Constant::Text(text) => Value::Text(Cow::Borrowed(text)),
        }
    }
}

/// Values by a text.
type Table = HashMap<String, Constant>;

fn table(told: &Bound<'_, PyAny>) -> PyResult<Table> {
    let pairs = told.call_method0("items")?;
    pairs
        .try_iter()?
        .map(|pair| pair.and_then(|pair| Ok((pair.get_item(0)?.extract()?, Constant::read(&pair.get_item(1)?)?))))
        .collect()
}

enum Order {
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

/// An expression. Its order of evaluation means nothing, for whatever fails is declined.
enum Expression {
    Literal(Constant),
    /// What a function gives that reads the record of Kafka, by its number.
    Asked(usize),
    Path(Vec<Step>),
    Pipe(Box<[Expression; 2]>),
    Index(i64),
    /// Each item of an array, and what is taken from it.
    Project(Box<[Expression; 2]>),
    /// The same, and the condition that an item has to meet.
    Filter(Box<[Expression; 3]>),
    List(Vec<Expression>),
    Or(Box<[Expression; 2]>),
    And(Box<[Expression; 2]>),
    Not(Box<Expression>),
    Equal(Box<[Expression; 2]>),
    Ordered(Order, Box<[Expression; 2]>),
    NotNull(Vec<Expression>),
    Lookup(Table, Box<Expression>, Option<Box<Expression>>),
    Granted(Table, Box<Expression>),
    Time(Option<i64>, Box<Expression>),
    Join(Box<[Expression; 2]>),
    Split(Box<[Expression; 2]>),
    Multiply(Box<[Expression; 2]>),
    Divide(Box<[Expression; 2]>),
    ToString(Box<Expression>),
    Upper(Box<Expression>),
    Lower(Box<Expression>),
    Trim(Box<Expression>),
    Hex(Box<Expression>),
    Sum(Box<Expression>),
    Length(Box<Expression>),
}

const MOST_DEEP: usize = 40;
/// Characters of the longest text that is looked for among the spellings of a consent.
const MOST_STATUS: usize = 64;
const NANOSECONDS_PER_MILLISECOND: i128 = 1_000_000;

/// What an expression is evaluated for: a record, or a value of it.
#[derive(Clone, Copy)]
enum Scope<'a, 'c> {
    Record { fields: &'a [Field], bytes: &'a [u8], starts: &'c [usize], asked: &'a [Constant] },
    Of(&'c Value<'a>),
}

impl Expression {
    fn read(told: &Bound<'_, PyAny>, depth: usize) -> PyResult<Self> {
        let refused = |why| Err(PyValueError::new_err(why));
        if depth > MOST_DEEP {
            return refused("an expression within too many others");
        }
        let kind: String = told.get_item(0)?.extract()?;
        let at = |position: usize| Expression::read(&told.get_item(position)?, depth + 1);
        let only = || Ok::<_, PyErr>(Box::new(at(1)?));
        let two = || Ok::<_, PyErr>(Box::new([at(1)?, at(2)?]));
        let all = || {
            let each = told.get_item(1)?;
            let read = each.try_iter()?.map(|each| Expression::read(&each?, depth + 1));
            read.collect::<PyResult<Vec<_>>>()
        };
        Ok(match kind.as_str() {
            "literal" => Expression::Literal(Constant::read(&told.get_item(1)?)?),
            "asked" => Expression::Asked(told.get_item(1)?.extract()?),
            "path" => {
                let mut steps = Vec::new();
                for step in told.get_item(1)?.try_iter()? {
                    let step = step?;
                    steps.push(match step.extract() {
                        Ok(field) => Step::Field(field),
                        Err(_) => Step::Key(step.extract()?),
                    });
                }
                Expression::Path(steps)
            }
            "pipe" => Expression::Pipe(two()?),
            "index" => Expression::Index(told.get_item(1)?.extract()?),
            "project" => Expression::Project(two()?),
            "filter" => Expression::Filter(Box::new([at(1)?, at(2)?, at(3)?])),
            "list" => Expression::List(all()?),
            "or" => Expression::Or(two()?),
            "and" => Expression::And(two()?),
            "not" => Expression::Not(only()?),
            "eq" => Expression::Equal(two()?),
            "ne" => Expression::Not(Box::new(Expression::Equal(two()?))),
            "lt" => Expression::Ordered(Order::Less, two()?),
            "lte" => Expression::Ordered(Order::LessOrEqual, two()?),
            "gt" => Expression::Ordered(Order::More, two()?),
            "gte" => Expression::Ordered(Order::MoreOrEqual, two()?),
            "not_null" => Expression::NotNull(all()?),
            "lookup" => {
                let default = if told.get_item(3)?.is_none() { None } else { Some(Box::new(at(3)?)) };
                Expression::Lookup(table(&told.get_item(1)?)?, Box::new(at(2)?), default)
            }
            "granted" => Expression::Granted(table(&told.get_item(1)?)?, Box::new(at(2)?)),
            "time" => Expression::Time(told.get_item(1)?.extract()?, Box::new(at(2)?)),
            "join" => Expression::Join(two()?),
            "split" => Expression::Split(two()?),
            "multiply" => Expression::Multiply(two()?),
            "divide" => Expression::Divide(two()?),
            "to_string" => Expression::ToString(only()?),
            "upper" => Expression::Upper(only()?),
            "lower" => Expression::Lower(only()?),
            "trim" => Expression::Trim(only()?),
            "hex" => Expression::Hex(only()?),
            "sum" => Expression::Sum(only()?),
            "length" => Expression::Length(only()?),
            _ => return refused("an expression that is not known"),
        })
    }

    fn value<'a>(&'a self, scope: Scope<'a, '_>) -> Got<Value<'a>> {
        let both = |pair: &'a [Expression; 2]| Ok((pair[0].value(scope)?, pair[1].value(scope)?));
        Ok(match self {
            Expression::Literal(constant) => constant.value(),
            Expression::Asked(number) => match scope {
                Scope::Record { asked, .. } => asked.get(*number).ok_or(NO)?.value(),
                Scope::Of(_) => return Err(NO),
            },
            Expression::Path(steps) => {
                let (mut value, steps) = match (scope, steps.as_slice()) {
                    (Scope::Of(value), steps) => (value.clone(), steps),
                    (Scope::Record { fields, bytes, starts, .. }, [Step::Field(first), steps @ ..]) => {
                        let (field, at) = (fields.get(*first).ok_or(NO)?, *starts.get(*first).ok_or(NO)?);
                        (Value::load(&field.node, Cursor { bytes, at })?, steps)
                    }
                    _ => return Err(NO),
                };
                for step in steps {
                    value = value.step(step)?;
                }
                value
            }
            Expression::Pipe(pair) => pair[1].value(Scope::Of(&pair[0].value(scope)?))?,
            Expression::Index(at) => {
                let Scope::Of(value) = scope else { return Err(NO) };
                let Some(mut items) = value.items()? else { return Ok(Value::Null) };
                let at = if *at < 0 { *at + items.len() as i64 } else { *at };
                match usize::try_from(at) {
                    Ok(at) if at < items.len() => items.swap_remove(at),
                    _ => Value::Null,
                }
            }
            Expression::Project(pair) => {
                let Some(items) = pair[0].value(scope)?.items()? else { return Ok(Value::Null) };
                let mut found = Vec::with_capacity(items.len());
                for item in &items {
                    match pair[1].value(Scope::Of(item))? {
                        Value::Null => {}
                        value => found.push(value),
                    }
                }
                Value::List(found)
            }
            Expression::Filter(parts) => {
                let [base, each, condition] = &**parts;
                let Some(items) = base.value(scope)?.items()? else { return Ok(Value::Null) };
                let mut found = Vec::new();
                for item in &items {
                    if !condition.value(Scope::Of(item))?.is_false()? {
                        match each.value(Scope::Of(item))? {
                            Value::Null => {}
                            value => found.push(value),
                        }
                    }
                }
                Value::List(found)
            }
            Expression::List(parts) => {
                if let Scope::Of(Value::Null) = scope {
                    return Ok(Value::Null);
                }
                Value::List(parts.iter().map(|part| part.value(scope)).collect::<Got<_>>()?)
            }
            Expression::Or(pair) => match pair[0].value(scope)? {
                value if value.is_false()? => pair[1].value(scope)?,
                value => value,
            },
            Expression::And(pair) => match pair[0].value(scope)? {
                value if value.is_false()? => value,
                _ => pair[1].value(scope)?,
            },
            Expression::Not(of) => Value::Bool(of.value(scope)?.is_false()?),
            Expression::Equal(pair) => {
                let (one, other) = both(pair)?;
                Value::Bool(equal(&one, &other)?)
            }
            Expression::Ordered(wanted, pair) => {
                let (one, other) = both(pair)?;
                match order(&one, &other)? {
                    None => Value::Null,
                    Some(found) => Value::Bool(match wanted {
                        Order::Less => found.is_lt(),
                        Order::LessOrEqual => found.is_le(),
                        Order::More => found.is_gt(),
                        Order::MoreOrEqual => found.is_ge(),
                    }),
                }
            }
            Expression::NotNull(parts) => {
                let mut found = Value::Null;
                for part in parts {
                    let value = part.value(scope)?; // all of them, for each may fail
                    if matches!(found, Value::Null) {
                        found = value;
                    }
                }
                found
            }
            Expression::Lookup(table, key, default) => {
                let found = match key.value(scope)? {
                    Value::Null => None,
                    key => table.get(&*key.spelt()?),
                };
                match (found, default) {
                    (Some(found), _) => found.value(),
                    (None, Some(default)) => default.value(scope)?,
                    (None, None) => Value::Null,
                }
            }
            Expression::Granted(statuses, of) => match of.value(scope)? {
                Value::Null => Value::Null,
                Value::Bool(is_so) => Value::Text(Cow::Borrowed(if is_so { "GRANTED" } else { "DENIED" })),
                Value::Text(text)
                    if text.len() <= MOST_STATUS && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) =>
                {
                    let spelt = text.trim_matches(' ').to_ascii_uppercase().replace(['-', ' '], "_");
                    statuses.get(&spelt).ok_or(NO)?.value()
                }
                _ => return Err(NO),
            },
            Expression::Time(unit, of) => match of.value(scope)? {
                Value::Null => Value::Null,
                Value::Int(number) => {
                    let nanoseconds = i128::from(unit.unwrap_or(NANOSECONDS_PER_MILLISECOND as i64));
                    let milliseconds = (i128::from(number) * nanoseconds).div_euclid(NANOSECONDS_PER_MILLISECOND);
                    Value::Int(i64::try_from(milliseconds).map_err(|_| NO)?)
                }
                Value::Text(text) if unit.is_none() => Value::Int(iso(text.as_bytes()).ok_or(NO)?),
                _ => return Err(NO),
            },
            Expression::Join(pair) => {
                let (by, of) = both(pair)?;
                let by = by.must_be_text()?;
                let mut joined = String::new();
                for (number, item) in of.items()?.ok_or(NO)?.into_iter().enumerate() {
                    if number > 0 {
                        joined.push_str(&by);
                    }
                    joined.push_str(&item.must_be_text()?);
                }
                Value::Text(Cow::Owned(joined))
            }
            Expression::Split(pair) => {
                let (of, by) = both(pair)?;
                if matches!(of, Value::Null) {
                    return Ok(Value::Null);
                }
                let (of, by) = (of.must_be_text()?, by.must_be_text()?);
                if by.is_empty() {
                    return Err(NO);
                }
                Value::List(of.split(&*by).map(|part| Value::Text(Cow::Owned(part.to_owned()))).collect())
            }
            Expression::Multiply(pair) => match both(pair)? {
                (Value::Null, _) => Value::Null,
                (one, other) => {
                    let ((one, scale), (other, other_scale)) = (one.number()?.ok_or(NO)?, other.number()?.ok_or(NO)?);
                    let product = one.checked_mul(other).ok_or(NO)?;
                    if product == 0 && (one < 0 || other < 0) {
                        return Err(NO); // Python's zero has a sign
                    }
                    Value::Decimal(product, scale + other_scale)
                }
            },
            Expression::Divide(pair) => match both(pair)? {
                (Value::Null, _) => Value::Null,
                (one, Value::Int(by)) => {
                    let (digits, scale) = one.number()?.ok_or(NO)?;
                    let tens = (0..19).find(|&tens| 10_i64.pow(tens) == by).ok_or(NO)?; // what else may have no end
                    Value::Decimal(digits, scale + tens)
                }
                _ => return Err(NO),
            },
            Expression::ToString(of) => Value::Text(of.value(scope)?.spelt()?),
            Expression::Upper(of) => ascii(of.value(scope)?, str::to_ascii_uppercase)?,
            Expression::Lower(of) => ascii(of.value(scope)?, str::to_ascii_lowercase)?,
            Expression::Trim(of) => match of.value(scope)? {
                Value::Null => Value::Null,
                Value::Text(text) if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) => {
                    Value::Text(Cow::Owned(text.trim_matches(' ').to_owned()))
                }
                _ => return Err(NO),
            },
            Expression::Hex(of) => match of.value(scope)? {
                Value::Null => Value::Null,
                Value::Bytes(bytes) => {
                    let mut text = String::with_capacity(2 * bytes.len());
                    hex(bytes, &mut text);
                    Value::Text(Cow::Owned(text))
                }
                _ => return Err(NO),
            },
            Expression::Sum(of) => {
                let mut total = Value::Null;
                for item in of.value(scope)?.items()?.ok_or(NO)? {
                    total = match (total, item) {
                        (Value::Null, item @ (Value::Int(_) | Value::Decimal(..))) => item,
                        (Value::Int(total), Value::Int(item)) => Value::Int(total.checked_add(item).ok_or(NO)?),
                        (Value::Decimal(total, scale), Value::Decimal(item, of)) if scale == of => {
                            Value::Decimal(total.checked_add(item).ok_or(NO)?, scale)
                        }
                        _ => return Err(NO),
                    }
                }
                total
            }
            Expression::Length(of) => match of.value(scope)? {
                Value::Text(text) => Value::Int(text.chars().count() as i64),
                value => Value::Int(value.items()?.ok_or(NO)?.len() as i64),
            },
        })
    }
}

fn ascii<'a>(of: Value<'a>, spelt: impl Fn(&str) -> String) -> Got<Value<'a>> {
    match of {
        Value::Null => Ok(Value::Null),
        Value::Text(text) if text.is_ascii() => Ok(Value::Text(Cow::Owned(spelt(&text)))),
        _ => Err(NO),
    }
}

/// The milliseconds of "2026-11-05T14:03:07.250+01:00"; None of a text in any other of the forms that Python reads.
fn iso(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_at_checked(19)?;
    let digits = |part: &[u8]| {
        part.iter().try_fold(0_i64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
    };
    let marks = [date[4], date[7], date[10], date[13], date[16]];
    let (year, month, day) = (digits(&date[..4])?, digits(&date[5..7])?, digits(&date[8..10])?);
    let (hour, minute, second) = (digits(&date[11..13])?, digits(&date[14..16])?, digits(&date[17..])?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_date = (1970..9999).contains(&year) && (1..=12).contains(&month) && (1..=last).contains(&day);
    if &marks != b"--T::" || !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (microseconds, zone) = match rest {
        [b'.', rest @ ..] => {
            let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (part, zone) = rest.split_at(count);
            (
                digits(part)?
                    * if count == 3 {
                        1_000
                    } else if count == 6 {
                        1
                    } else {
                        return None;
                    },
                zone,
            )
        }
        zone => (0, zone),
    };
    let offset = match zone {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), zone @ ..] if zone.len() == 5 && zone[2] == b':' => {
            let (hours, minutes) = (digits(&zone[..2])?, digits(&zone[3..])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
        }
        _ => return None,
    };
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_era = shifted_year % 400;
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days = shifted_year / 400 * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some((seconds * 1_000_000 + microseconds).div_euclid(1_000))
}

/// The expressions of one mapping.
struct Inputs {
    /// By the part of an event.
    parts: Vec<(usize, Expression)>,
    /// By type.
    match_keys: Vec<(String, Expression)>,
    /// By the part of a consent.
    consent: Vec<(usize, Expression)>,
    /// By name.
    attributes: Vec<(String, Expression)>,
    /// By name and type.
    custom_data: Vec<(String, String, Expression)>,
}

/// One mapping: its condition, and its inputs unless Python has to say something about each of its records.
struct Route {
    when: Option<Expression>,
    inputs: Option<Inputs>,
}

/// The mappings that may be for records of one type.
pub struct Program {
    fields: Vec<Field>,
    routes: Vec<Route>,
    /// Whether a record that no mapping takes is ignored.
    filters: bool,
}

/// What the expressions of a mapping gave.
pub struct Mapped<'a> {
    pub parts: Vec<(usize, Value<'a>)>,
    pub match_keys: Vec<(&'a str, Cow<'a, str>)>,
    pub consent: Vec<(usize, Cow<'a, str>)>,
    pub attributes: Vec<(&'a str, Cow<'a, str>)>,
    pub custom_data: Vec<(&'a str, &'a str, Cow<'a, str>)>,
}

impl Inputs {
    fn read(told: &Bound<'_, PyAny>) -> PyResult<Self> {
        fn pairs<K>(
            told: &Bound<'_, PyAny>,
            name: &str,
            key: impl Fn(&Bound<'_, PyAny>) -> PyResult<K>,
        ) -> PyResult<Vec<(K, Expression)>> {
            let mut read = Vec::new();
            for pair in told.get_item(name)?.try_iter()? {
                let pair = pair?;
                read.push((key(&pair.get_item(0)?)?, Expression::read(&pair.get_item(1)?, 0)?));
            }
            Ok(read)
        }
        Ok(Inputs {
            parts: pairs(told, "parts", |key| key.extract())?,
            match_keys: pairs(told, "match_keys", |key| key.extract())?,
            consent: pairs(told, "consent", |key| key.extract())?,
            attributes: pairs(told, "attributes", |key| key.extract())?,
            custom_data: pairs(told, "custom_data", |key| key.extract::<(String, String)>())?
                .into_iter()
                .map(|((name, kind), value)| (name, kind, value))
                .collect(),
        })
    }

    fn mapped<'a>(&'a self, scope: Scope<'a, '_>) -> Got<Mapped<'a>> {
        let mut found = Mapped {
            parts: Vec::with_capacity(self.parts.len()),
            match_keys: Vec::with_capacity(self.match_keys.len()),
            consent: Vec::with_capacity(self.consent.len()),
            attributes: Vec::new(),
            custom_data: Vec::new(),
        };
        for (part, expression) in &self.parts {
            match expression.value(scope)? {
                Value::Null => {}
                value => found.parts.push((*part, value)),
            }
        }
        for (kind, expression) in &self.match_keys {
            match expression.value(scope)? {
                Value::Null => {}
                Value::Text(text) => found.match_keys.push((kind, text)),
                value => {
                    for item in value.items()?.ok_or(NO)? {
                        if let Some(text) = item.text()? {
                            found.match_keys.push((kind, text));
                        }
                    }
                }
            }
        }
        for (part, expression) in &self.consent {
            if let Some(text) = expression.value(scope)?.text()? {
                found.consent.push((*part, text));
            }
        }
        for (name, expression) in &self.attributes {
            if let Some(text) = expression.value(scope)?.text()? {
                found.attributes.push((name, text));
            }
        }
        for (name, kind, expression) in &self.custom_data {
            match expression.value(scope)? {
                Value::Null => {}
                Value::Int(number) => found.custom_data.push((name, kind, Cow::Owned(number.to_string()))),
                value => found.custom_data.push((name, kind, value.must_be_text()?)),
            }
        }
        Ok(found)
    }
}

impl Program {
    /// Make the mappings of the dict that `connector/mapping/native_terms.py` describes, for records of these fields.
    pub fn read(fields: Vec<Field>, told: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut routes = Vec::new();
        for route in told.get_item("routes")?.try_iter()? {
            let (when, inputs): (Bound<'_, PyAny>, Bound<'_, PyAny>) = route?.extract()?;
            routes.push(Route {
                when: if when.is_none() { None } else { Some(Expression::read(&when, 0)?) },
                inputs: if inputs.is_none() { None } else { Some(Inputs::read(&inputs)?) },
            });
        }
        Ok(Program { fields, routes, filters: told.get_item("filters")?.extract()? })
    }

    /// The inputs of the record that begins at a cursor and ends with its bytes.
    ///
    /// `asked` is what the functions give that read the record of Kafka.
    pub fn mapped<'a>(&'a self, mut cursor: Cursor<'a>, asked: &'a [Constant]) -> Got<Mapped<'a>> {
        let mut starts = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            starts.push(cursor.at);
            cursor.skip(&field.node)?;
        }
        if cursor.at != cursor.bytes.len() {
            return Err(No::Declined(Why::Bytes));
        }
        let scope = Scope::Record { fields: &self.fields, bytes: cursor.bytes, starts: &starts, asked };
        for Route { when, inputs } in &self.routes {
            if let Some(when) = when {
                if when.value(scope)?.is_false()? {
                    continue;
                }
            }
            return inputs.as_ref().ok_or(NO)?.mapped(scope);
        }
        Err(if self.filters { No::Filtered } else { NO })
    }
}
