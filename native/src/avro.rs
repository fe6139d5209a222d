//! Reads Avro binary by a writer's schema, and declines whatever is not as the specification says.
//!
//! `connector/avro/decoding.py` is more lenient in places (a text that ends early, a boolean of 2). What it makes of such a
//! value is its affair: here the value is declined.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::codec::{No, Why};

pub type Got<T> = Result<T, No>;

const BYTES: No = No::Declined(Why::Bytes);

/// A type. A named type is told again at each place of its use, within bounds.
pub enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(usize),
    /// An enum whose symbols are read.
    Symbols(Vec<String>),
    /// A time in so many units a millisecond.
    Time(i64, Box<Node>),
    /// A decimal with so many decimals.
    Decimal(u32, Box<Node>),
    /// A UUID of 16 bytes.
    Uuid,
    Array(Box<Node>),
    Map(Box<Node>),
    Record(Vec<Field>),
    Union(Vec<Node>),
}

pub struct Field {
    /// What the field is to the record that it is a part of; 0 for a field that nothing reads.
    pub part: usize,
    pub node: Node,
}

pub const UUID_BYTES: usize = 16;
const MOST_DEEP: usize = 24;
const MOST_NODES: usize = 4_000;

impl Node {
    /// Make a type of the tuples that `connector/avro/layout.py` describes.
    pub fn read(told: &Bound<'_, PyAny>) -> PyResult<Node> {
        Node::within(told, 0, &mut 0)
    }

    fn within(told: &Bound<'_, PyAny>, depth: usize, nodes: &mut usize) -> PyResult<Node> {
        *nodes += 1;
        if depth > MOST_DEEP || *nodes > MOST_NODES {
            return Err(PyValueError::new_err("the schema has too many parts"));
        }
        let kind: String = told.get_item(0)?.extract()?;
        let only = |nodes: &mut usize| Node::within(&told.get_item(1)?, depth + 1, nodes);
        Ok(match kind.as_str() {
            "null" => Node::Null,
            "boolean" => Node::Boolean,
            "int" => Node::Int,
            "long" => Node::Long,
            "float" => Node::Float,
            "double" => Node::Double,
            "bytes" => Node::Bytes,
            "string" => Node::Text,
            "fixed" => Node::Fixed(told.get_item(1)?.extract()?),
            "enum" => Node::Enum(told.get_item(1)?.extract()?),
            "symbols" => Node::Symbols(told.get_item(1)?.extract()?),
            "time" => {
                let units = told.get_item(1)?.extract()?;
                if units < 1 {
                    return Err(PyValueError::new_err("a time of no unit"));
                }
                Node::Time(units, Box::new(Node::within(&told.get_item(2)?, depth + 1, nodes)?))
            }
            "decimal" => {
                Node::Decimal(told.get_item(1)?.extract()?, Box::new(Node::within(&told.get_item(2)?, depth + 1, nodes)?))
            }
            "uuid" => Node::Uuid,
            "array" => Node::Array(Box::new(only(nodes)?)),
            "map" => Node::Map(Box::new(only(nodes)?)),
            "union" => {
                let branches = told.get_item(1)?;
                let read = branches.try_iter()?.map(|branch| Node::within(&branch?, depth + 1, nodes));
                Node::Union(read.collect::<PyResult<_>>()?)
            }
            "record" => {
                let mut fields = Vec::new();
                for field in told.get_item(1)?.try_iter()? {
                    let (part, told): (usize, Bound<'_, PyAny>) = field?.extract()?;
                    fields.push(Field { part, node: Node::within(&told, depth + 1, nodes)? });
                }
                Node::Record(fields)
            }
            _ => return Err(PyValueError::new_err("a type that is not Avro's")),
        })
    }
}

/// A value, and how far it was read.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub fn take(&mut self, count: usize) -> Got<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or(BYTES)?;
        let taken = self.bytes.get(self.at..end).ok_or(BYTES)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Got<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| BYTES)
    }

    fn byte(&mut self) -> Got<u8> {
        let byte = *self.bytes.get(self.at).ok_or(BYTES)?;
        self.at += 1;
        Ok(byte)
    }

    pub fn long(&mut self) -> Got<i64> {
        let mut byte = self.byte()?;
        let mut number = u64::from(byte & 0x7F);
        let mut shift = 7;
        while byte > 0x7F {
            byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(BYTES); // more than 64 bits
            }
            number |= u64::from(byte & 0x7F) << shift;
            shift += 7;
        }
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn int(&mut self) -> Got<i64> {
        let number = self.long()?;
        i32::try_from(number).map(i64::from).map_err(|_| BYTES)
    }

    pub fn double(&mut self) -> Got<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    pub fn float(&mut self) -> Got<f64> {
        Ok(f64::from(f32::from_le_bytes(self.array()?)))
    }

    pub fn boolean(&mut self) -> Got<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BYTES),
        }
    }

    pub fn size(&mut self) -> Got<usize> {
        usize::try_from(self.long()?).map_err(|_| BYTES)
    }

    /// Bytes after their number.
    pub fn sized(&mut self) -> Got<&'a [u8]> {
        let size = self.size()?;
        self.take(size)
    }

    pub fn text(&mut self) -> Got<&'a str> {
        std::str::from_utf8(self.sized()?).map_err(|_| BYTES)
    }

    /// How many items or entries the next block has. Each takes a byte at least, or `writer_schema.py` refuses the schema.
    pub fn block(&mut self) -> Got<usize> {
        let count = self.size()?;
        if count > self.bytes.len() {
            return Err(BYTES);
        }
        Ok(count)
    }

    /// The type of the next value: of a union, the branch that it names.
    pub fn branch<'n>(&mut self, node: &'n Node) -> Got<&'n Node> {
        match node {
            Node::Union(branches) => {
                let index = self.size()?;
                branches.get(index).ok_or(BYTES)
            }
            other => Ok(other),
        }
    }

    /// The integer of a value of this type, if its type is one.
    pub fn integer(&mut self, node: &Node) -> Option<Got<i64>> {
        match node {
            Node::Int => Some(self.int()),
            Node::Long => Some(self.long()),
            _ => None,
        }
    }

    fn symbol(&mut self, symbols: usize) -> Got<()> {
        if self.size()? < symbols {
            Ok(())
        } else {
            Err(BYTES)
        }
    }

    pub fn skip(&mut self, node: &Node) -> Got<()> {
        match node {
            Node::Null => {}
            Node::Boolean => {
                self.boolean()?;
            }
            Node::Int => {
                self.int()?;
            }
            Node::Long => {
                self.long()?;
            }
            Node::Float => {
                self.take(4)?;
            }
            Node::Double => {
                self.take(8)?;
            }
            Node::Bytes => {
                self.sized()?;
            }
            Node::Text => {
                self.text()?;
            }
            Node::Fixed(size) => {
                self.take(*size)?;
            }
            Node::Enum(symbols) => self.symbol(*symbols)?,
            Node::Symbols(names) => self.symbol(names.len())?,
            Node::Time(_, of) | Node::Decimal(_, of) => self.skip(of)?,
            Node::Uuid => {
                self.take(UUID_BYTES)?;
            }
            Node::Record(fields) => {
                for field in fields {
                    self.skip(&field.node)?;
                }
            }
            Node::Union(_) => {
                let branch = self.branch(node)?;
                self.skip(branch)?;
            }
            Node::Array(item) => loop {
                let count = self.block()?;
                if count == 0 {
                    break;
                }
                for _ in 0..count {
                    self.skip(item)?;
                }
            },
            Node::Map(item) => loop {
                let count = self.block()?;
                if count == 0 {
                    break;
                }
                for _ in 0..count {
                    self.text()?;
                    self.skip(item)?;
                }
            },
        }
        Ok(())
    }
}
