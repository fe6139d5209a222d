//! The straight line from an Avro value to the payload of its event: decoded, by the rules, and encoded, in one go.
//!
//! The law: *decline, or be byte-equal to the Python path.* A record is declined wherever something is to be said about it
//! (a flaw, an adjustment) and wherever it is unusual. Python then reads it, and its word alone counts.
//!
//! Rules are not told again here. What repeats from event to event (name, type, country) is remembered by the bytes of its
//! field, and Python makes each entry with its own rules. Free texts (ids, match keys, consent strings, attributes) are never
//! remembered: they are taken where they have a form about which the rules have nothing to say. Personal identifiers in clear
//! are hashed here where they have the plain form of an e-mail address or a name. Python makes the hashes of the others, for
//! all values of a call at once.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::panic::{catch_unwind, AssertUnwindSafe};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::avro::{Cursor, Field, Got, Node};
use crate::mapping::{Constant, Mapped, Program};
use crate::quick::{Memo, Traces};
use crate::{digests, json};

/// Why a record is left to Python.
#[derive(Clone, Copy)]
pub enum Why {
    Size,
    Bytes,
    Rule,
    Id,
    Time,
    MatchKeys,
    Value,
    Units,
    Consent,
    Attributes,
    Rare,
    Escape,
    Mapping,
    Panic,
}

/// Their names, in the same order.
const REASONS: [&str; 14] = [
    "size",
    "bytes",
    "rule",
    "id",
    "time",
    "match-keys",
    "value",
    "units",
    "consent",
    "attributes",
    "rare",
    "escape",
    "mapping",
    "panic",
];

pub enum No {
    Declined(Why),
    /// A memo lacks these bytes.
    Unknown(usize, Vec<u8>),
    /// No mapping is for the record, or none of their conditions holds.
    Filtered,
}

fn decline<T>(why: Why) -> Got<T> {
    Err(No::Declined(why))
}

// Parts of an event, as `connector/avro/layout.py` numbers them. The first ones are remembered, by the number less one.
const EVENT_TYPE: usize = 2;
const COUNTRY: usize = 4;
const CURRENCY: usize = 5;
const OPTIONS: usize = 6;
const ID: usize = 7;
const TIME: usize = 8;
const MATCH_KEYS: usize = 9;
const VALUE: usize = 10;
const UNITS: usize = 11;
const CONSENT: usize = 12;
const ATTRIBUTES: usize = 13;
const CUSTOM_DATA: usize = 14;
const USER_AGENT: usize = 15;
const TOKENS: usize = 16;
const PARTNER: usize = 18;
const ABSENT: usize = 19;
/// Parts that are sent as they came: `USER_AGENT`, `TOKENS`, the ad event's key, `PARTNER`.
const TRAFFIC: usize = PARTNER + 1 - USER_AGENT;
/// The memos of match key types and of types of custom data; those of the parts are before them.
const KEY_TYPES: usize = OPTIONS;
const DATA_TYPES: usize = KEY_TYPES + 1;
const MEMOS: usize = DATA_TYPES + 1;

// Parts of a match key, of an item of custom data, and of a consent.
const KEY_TYPE: usize = 1;
const KEY_VALUE: usize = 2;
const DATA_NAME: usize = 1;
const DATA_VALUE: usize = 2;
const DATA_TYPE: usize = 3;
const CONSENT_PARTS: usize = 5;

/// Entries after which a memo is emptied, and the longest field that one remembers.
const MOST_ENTRIES: usize = 4_096;
const MOST_REMEMBERED_BYTES: usize = 256;

const MOST_MATCH_KEYS: usize = 15;
/// Characters of the longest value of a custom attribute, in either contract.
const MOST_ATTRIBUTE_TEXT: usize = 256;
const MOST_UNITS: i64 = (1 << 31) - 1;

// What an entry of a memo says besides.
const PURCHASE: u8 = 1;
const HASHED: u8 = 1;
const RAW: u8 = 2;
const MATCH_ID: u8 = 3;
const EMAIL: u8 = 4;
const NAME: u8 = 5;
const INTEGER: u8 = 1;

/// What the rules make of a field: JSON, what kind it is, and what it is in a dedupe key.
type Made = (Vec<u8>, u8, Option<Vec<u8>>);

/// None: leave the record to the rules.
type Entry = Option<Made>;

/// Where the inputs of an event are.
enum Source {
    /// In the fields of the record.
    Fields(Vec<Field>),
    /// Where the expressions of a mapping file find them.
    Mapping(Program),
}

#[pyclass]
pub struct Codec {
    source: Source,
    terms: Terms,
    /// What is left of `terms.disguised` at a glance.
    disguised: Traces,
    memos: Vec<Memo<Entry>>,
    declined: [u64; REASONS.len()],
}

struct Event {
    from: usize,
    to: usize,
    time_ms: i64,
    key: Option<[u8; digests::KEY]>,
    /// Where the id is missing, which its place in Kafka makes.
    hole: Option<usize>,
    /// The match keys whose hash is missing; and where all match keys are, if it is missing in any.
    clear: Vec<Clear>,
    spans: Vec<(usize, usize)>,
}

/// A personal identifier in clear, and the place for its hash.
struct Clear {
    at: usize,
    identifier: Identifier,
}

/// What a hash depends on: type, text and country.
type Identifier = (String, String, Vec<u8>);

/// Digits of SHA-256.
const HASH: usize = digests::SHA256_DIGITS;

/// Items in an array or a map of the record; or told by the expressions of a mapping file.
enum Items<'a, T> {
    Absent,
    At(&'a Node, Cursor<'a>),
    Told(Vec<T>),
}

type Text<'a> = Cow<'a, str>;

/// What was found of an event before any of it is written.
struct Found<'a> {
    remembered: [Option<Cow<'a, [u8]>>; OPTIONS],
    id: Option<Text<'a>>,
    time_ms: i64,
    amount: Option<f64>,
    units: Option<i64>,
    match_keys: Items<'a, (&'a str, Text<'a>)>,
    consent: [Text<'a>; CONSENT_PARTS],
    attributes: Items<'a, (&'a str, Text<'a>)>,
    custom_data: Items<'a, (&'a str, &'a str, Text<'a>)>,
    traffic: [Option<Text<'a>>; TRAFFIC],
}

impl Found<'_> {
    fn nothing() -> Self {
        Found {
            remembered: [const { None }; OPTIONS],
            id: None,
            time_ms: 0,
            amount: None,
            units: None,
            match_keys: Items::Absent,
            consent: [const { Cow::Borrowed("") }; CONSENT_PARTS],
            attributes: Items::Absent,
            custom_data: Items::Absent,
            traffic: [const { None }; TRAFFIC],
        }
    }
}

fn bytes_of(text: Text<'_>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// A text or null; another type is declined.
fn text_or_null<'a>(node: &Node, cursor: &mut Cursor<'a>, why: Why) -> Got<Option<&'a str>> {
    match cursor.branch(node)? {
        Node::Null => Ok(None),
        Node::Text => Ok(Some(cursor.text()?)),
        _ => decline(why),
    }
}

/// Whether nothing would be trimmed from around a text.
fn is_trim(text: &str) -> bool {
    matches!((text.bytes().next(), text.bytes().last()), (Some(first), Some(last)) if first.is_ascii_graphic() && last.is_ascii_graphic())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_base64(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

/// What a byte is to `is_plain`: part of a plain text, a digit but zero, a letter or digit.
const PLAIN: u8 = 1;
const COUNTS: u8 = 2;
const NAMES: u8 = 4;
const LOOKS: [u8; 256] = {
    let mut looks = [0; 256];
    let mut byte = 0u8;
    while byte < 0x7F {
        if byte.is_ascii_alphanumeric() {
            looks[byte as usize] = PLAIN | NAMES;
        }
        if matches!(byte, b'_' | b'-' | b'.' | b':' | b'/' | b' ') {
            looks[byte as usize] = PLAIN;
        }
        if matches!(byte, b'1'..=b'9') {
            looks[byte as usize] |= COUNTS;
        }
        byte += 1;
    }
    looks
};

fn looks(byte: u8) -> u8 {
    LOOKS[usize::from(byte)]
}

/// Whether a test holds for all bytes. It does not stop at the first that fails, so that many are tested at once.
fn all(bytes: &[u8], are: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, &byte| all & are(byte))
}

/// Whether a test holds for any byte; as `all`.
fn any(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |any, &byte| any | is(byte))
}

fn is_hashed(how: u8) -> bool {
    matches!(how, HASHED | EMAIL | NAME)
}

const UUID_DIGITS: usize = 32;
/// Python looks at a text that begins like one that stands for nothing.
const NO_NAMES: [&str; 8] = ["0", "nan", "nil", "none", "null", "undef", "urn", "uuid"];
const LONGEST_NAME: usize = 21; // a longer text may be a digest
const LONGEST_EMAIL: usize = 256;

fn letters_and_digits(text: &str) -> String {
    text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// Whether a text is ASCII letters with single signs between them.
fn is_plain_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.split([' ', '-', '.']).all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// The part before the "@" of an e-mail address that is nothing but letters, digits and single signs between them.
fn plain_email(text: &str) -> Option<&str> {
    let (local, domain) = text.split_once('@')?;
    let are_words = |text: &str, signs: [char; 2]| {
        text.split(signs).all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    // With "sha" and a 3 it may be a digest of SHA-3 by its own account (`connector/amazon/digests.py`).
    let may_be_digest = || text.contains('3') && text.to_ascii_lowercase().contains("sha");
    let is_plain = text.len() <= LONGEST_EMAIL
        && !text.starts_with('0')
        && are_words(local, ['.', '-'])
        && domain.contains('.')
        && are_words(domain, ['.', '-'])
        && !may_be_digest();
    is_plain.then_some(local)
}

fn consent_parts<'a>(node: &Node, cursor: &mut Cursor<'a>) -> Got<[Text<'a>; CONSENT_PARTS]> {
    let mut parts = [const { Cow::Borrowed("") }; CONSENT_PARTS];
    match cursor.branch(node)? {
        Node::Null => {}
        Node::Record(fields) => {
            for Field { part, node } in fields {
                match part {
                    1..=CONSENT_PARTS => {
                        parts[part - 1] = Cow::Borrowed(text_or_null(node, cursor, Why::Consent)?.unwrap_or(""));
                    }
                    _ => cursor.skip(node)?,
                }
            }
        }
        _ => return decline(Why::Consent),
    }
    Ok(parts)
}

fn found_by_mapping(mapped: Mapped<'_>) -> Got<Found<'_>> {
    let mut found = Found::nothing();
    let mut time_ms = None;
    for (part, value) in mapped.parts {
        match part {
            1..=OPTIONS => found.remembered[part - 1] = value.text()?.map(bytes_of),
            ID => found.id = value.text()?,
            TIME => time_ms = value.whole()?,
            VALUE => found.amount = value.amount()?,
            UNITS => found.units = value.whole()?,
            USER_AGENT..=PARTNER => found.traffic[part - USER_AGENT] = value.text()?.filter(|text| !text.is_empty()),
            _ => return decline(Why::Rare),
        }
    }
    found.time_ms = match time_ms {
        Some(time_ms) => time_ms,
        None => return decline(Why::Time),
    };
    for (part, text) in mapped.consent {
        found.consent[part - 1] = text;
    }
    found.match_keys = Items::Told(mapped.match_keys);
    found.attributes = Items::Told(mapped.attributes);
    found.custom_data = Items::Told(mapped.custom_data);
    Ok(found)
}

fn is_granted(text: &str) -> Got<bool> {
    if text.eq_ignore_ascii_case("GRANTED") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("DENIED") {
        Ok(false)
    } else {
        decline(Why::Consent)
    }
}

/// The type of a custom attribute that comes without one.
const UNTYPED: &[u8] = b"\"STRING\"";

/// Whether two of these parts are the same.
fn has_twice(spans: &[(usize, usize)], out: &[u8]) -> bool {
    let part = |&(from, to): &(usize, usize)| &out[from..to];
    spans.iter().enumerate().any(|(number, span)| spans[..number].iter().any(|before| part(before) == part(span)))
}

const LONGEST_CONSENT: usize = 16_384;
const SHORTEST_TCF: usize = 20;

/// Whether a text cannot be words with "_" or "-" between them, nor CamelCase: a digit before a letter, or "ABc".
fn is_no_words(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(2).any(|pair| pair[0].is_ascii_digit() && pair[1].is_ascii_alphabetic())
        || bytes
            .windows(3)
            .any(|each| each[0].is_ascii_uppercase() && each[1].is_ascii_uppercase() && each[2].is_ascii_lowercase())
}

/// Whether a text is segments in base64url with dots between them, of which the first is not made of words.
fn is_segments(text: &str) -> bool {
    text.split('.').all(|each| !each.is_empty() && each.bytes().all(is_base64))
        && text.split('.').next().is_some_and(is_no_words)
}

/// Whether it has the form of a TCF string, and is no placeholder.
fn is_tcf(text: &str) -> bool {
    let first = text.split('.').next().unwrap_or("");
    text.len() <= LONGEST_CONSENT && first.len() >= SHORTEST_TCF && first.starts_with('C') && is_segments(text)
}

/// Whether it has the form of a GPP string of sections that are no placeholders.
fn is_gpp(text: &str) -> bool {
    let mut sections = text.split('~');
    let header = sections.next().unwrap_or("").as_bytes();
    let has_header = matches!(header, [b'D', b'A'..=b'Z', b'A', _, ..]) && header.iter().copied().all(is_base64);
    let is_privacy_string = |each: &str| matches!(each.as_bytes(), [b'1', rest @ ..] if rest.len() == 3 && rest.iter().all(|&byte| byte.is_ascii_alphabetic() || byte == b'-'));
    text.len() <= LONGEST_CONSENT
        && has_header
        && text.contains('~')
        && sections.all(|each| is_privacy_string(each) || (matches!(each.as_bytes(), [b'B'..=b'Z', ..]) && is_segments(each)))
}

const MOST_USER_AGENT: usize = 512;
const LONGEST_TOKENS: usize = 16_384;

fn is_token_pair(pair: &str) -> bool {
    let pair = pair.as_bytes();
    pair.len() == 24
        && pair[..10].iter().all(u8::is_ascii_alphanumeric)
        && pair[10] == b'.'
        && pair[11..].iter().all(u8::is_ascii_digit)
}

/// Whether all of a text about ad and device is sent (`connector/amazon/rules.py`).
fn is_traffic(part: usize, text: &str) -> bool {
    match part {
        USER_AGENT => text.chars().count() <= MOST_USER_AGENT,
        TOKENS => text.len() <= LONGEST_TOKENS && text.split('|').all(is_token_pair),
        _ => true,
    }
}

/// Whether a text is a whole number of 32 bits without a sign.
fn is_int32(text: &str) -> bool {
    (1..=10).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<i64>().is_ok_and(|number| number < 1 << 31)
}

impl Codec {
    /// Whether a text is an id or a raw match key about which the rules have nothing to say (`connector/nothing.py`).
    fn is_plain(&self, text: &[u8]) -> bool {
        let (Some(&first), Some(&last)) = (text.first(), text.last()) else { return false };
        let (all, any) = text.iter().fold((PLAIN, 0), |(all, any), &byte| (all & looks(byte), any | looks(byte)));
        text.len() <= MOST_REMEMBERED_BYTES
            && looks(first) & NAMES != 0
            && last != b' '
            && all != 0
            && any & COUNTS != 0
            && !self.is_disguised(text)
    }

    /// What is hashed of an e-mail address or a name in clear; None if Python must look at it.
    ///
    /// (`connector/amazon/normalisation.py`, for texts that its rules only turn into lower case, or strip of what is no
    /// letter and no digit.)
    fn normalised(&self, how: u8, text: &str) -> Option<String> {
        match how {
            EMAIL => {
                let local = plain_email(text)?;
                (self.is_somebody(text) && self.is_somebody(local)).then(|| text.to_ascii_lowercase())
            }
            NAME if is_plain_name(text) && self.is_somebody(text) => Some(letters_and_digits(text)),
            _ => None,
        }
    }

    /// Whether a plain text surely does not stand for nothing, where names of people do (`connector/nothing.py`).
    fn is_somebody(&self, text: &str) -> bool {
        let whole = letters_and_digits(text);
        let of_one_letter = whole.bytes().all(|byte| Some(&byte) == whole.as_bytes().first());
        let is_nothing = of_one_letter
            || whole.len() == UUID_DIGITS
            || whole.contains("00000000")
            || NO_NAMES.iter().any(|begin| whole.starts_with(begin))
            || self.terms.nameless.contains(&whole);
        !is_nothing && !self.is_disguised(whole.as_bytes()) && !self.is_disguised(text.as_bytes())
    }

    fn is_disguised(&self, text: &[u8]) -> bool {
        self.disguised.may_have(text) && self.terms.disguised.contains(&String::from_utf8_lossy(text).to_ascii_lowercase())
    }

    fn is_public(&self, text: &str) -> bool {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            let number = u32::from(address);
            return !self.terms.local.iter().any(|(network, mask)| number & mask == *network);
        }
        // Global unicast without what is given out for protocols, and without 6to4: Python looks at those.
        text.parse::<Ipv6Addr>().is_ok_and(|address| match address.segments() {
            [0x2001, second, ..] => second >= 0x0200,
            [first, ..] => first & 0xE000 == 0x2000 && first != 0x2002,
        })
    }

    fn remembered(&self, memo: usize, bytes: &[u8]) -> Got<&Made> {
        if bytes.len() > MOST_REMEMBERED_BYTES {
            return decline(Why::Rule);
        }
        match self.memos[memo].get(bytes) {
            Some(Some(entry)) => Ok(entry),
            Some(None) => decline(Why::Rule),
            None => Err(No::Unknown(memo, bytes.to_vec())),
        }
    }

    fn part<'s>(&'s self, part: usize, found: &Found<'_>) -> Got<Option<&'s Made>> {
        found.remembered[part - 1].as_ref().map(|bytes| self.remembered(part - 1, bytes)).transpose()
    }

    fn find<'a>(&'a self, bytes: &'a [u8], at: usize, asked: &'a [Constant]) -> Got<Found<'a>> {
        let cursor = Cursor { bytes, at };
        match &self.source {
            Source::Fields(fields) => self.find_in_fields(fields, cursor),
            Source::Mapping(program) => found_by_mapping(program.mapped(cursor, asked)?),
        }
    }

    fn find_in_fields<'a>(&'a self, fields: &'a [Field], mut cursor: Cursor<'a>) -> Got<Found<'a>> {
        let mut found = Found::nothing();
        let mut time_ms = None;
        for Field { part, node } in fields {
            let here = cursor;
            match *part {
                1..=OPTIONS => {
                    cursor.skip(node)?;
                    found.remembered[part - 1] = Some(Cow::Borrowed(&cursor.bytes[here.at..cursor.at]));
                }
                ID => found.id = text_or_null(node, &mut cursor, Why::Id)?.map(Cow::Borrowed),
                TIME => {
                    let branch = cursor.branch(node)?;
                    let Some(read) = cursor.integer(branch) else { return decline(Why::Time) };
                    time_ms = Some(read?.div_euclid(self.terms.units_per_millisecond));
                }
                VALUE => {
                    found.amount = match cursor.branch(node)? {
                        Node::Null => None,
                        Node::Double => Some(cursor.double()?),
                        Node::Float => Some(cursor.float()?),
                        branch => match cursor.integer(branch) {
                            Some(read) => Some(read? as f64), // beyond 2^53 it is not exact, and too large to be written
                            None => return decline(Why::Value),
                        },
                    }
                }
                UNITS => {
                    found.units = match cursor.branch(node)? {
                        Node::Null => None,
                        branch => match cursor.integer(branch) {
                            Some(read) => Some(read?),
                            None => return decline(Why::Units),
                        },
                    }
                }
                MATCH_KEYS => {
                    cursor.skip(node)?;
                    found.match_keys = Items::At(node, here);
                }
                CONSENT => found.consent = consent_parts(node, &mut cursor)?,
                ATTRIBUTES => {
                    cursor.skip(node)?;
                    found.attributes = Items::At(node, here);
                }
                CUSTOM_DATA => {
                    cursor.skip(node)?;
                    found.custom_data = Items::At(node, here);
                }
                USER_AGENT..=PARTNER => {
                    found.traffic[part - USER_AGENT] =
                        text_or_null(node, &mut cursor, Why::Rare)?.filter(|text| !text.is_empty()).map(Cow::Borrowed);
                }
                ABSENT => {
                    if !matches!(cursor.branch(node)?, Node::Null) {
                        return decline(Why::Rare);
                    }
                }
                _ => cursor.skip(node)?,
            }
        }
        if cursor.at != cursor.bytes.len() {
            return decline(Why::Bytes);
        }
        found.time_ms = match time_ms {
            Some(time_ms) => time_ms,
            None => return decline(Why::Time),
        };
        Ok(found)
    }

    fn encode(&self, value: &[u8], start: usize, asked: &[Constant], out: &mut Vec<u8>) -> Got<Event> {
        if value.len() > self.terms.most_bytes {
            return decline(Why::Size);
        }
        let found = self.find(value, start, asked)?;
        let from = out.len();
        let is_purchase = self.part(EVENT_TYPE, &found)?.is_some_and(|(_, kind, _)| *kind == PURCHASE);
        if found.id.as_ref().is_some_and(|id| !self.is_plain(id.as_bytes())) {
            return decline(Why::Id);
        }
        let key = self.key(&self.terms.key_parts, &found)?;
        let mut hole = None;
        let (mut clear, mut spans) = (Vec::new(), Vec::new());
        for (lead, part, trail) in &self.terms.pieces {
            let before = out.len();
            out.extend_from_slice(lead);
            let is_there = match *part {
                ID => {
                    match (key, &found.id) {
                        (Some(_), Some(id)) if self.terms.id_parts.is_empty() => json::text(id, out)?,
                        (Some(_), _) if !self.terms.id_parts.is_empty() => self.id(&found, out)?,
                        _ => hole = Some(out.len() - from),
                    }
                    true
                }
                TIME => {
                    json::time(found.time_ms, out)?;
                    true
                }
                VALUE => match found.amount {
                    Some(amount) if is_purchase && amount < 0.0 => return decline(Why::Value),
                    Some(amount) => {
                        json::amount(amount, out)?;
                        true
                    }
                    None => false,
                },
                UNITS => match found.units {
                    Some(units) if is_purchase && (0..=MOST_UNITS).contains(&units) => {
                        json::number(units as u64, out);
                        true
                    }
                    Some(_) => return decline(Why::Units),
                    None => false,
                },
                MATCH_KEYS => {
                    spans = self.match_keys(&found, out, &mut clear)?;
                    true
                }
                CONSENT => self.consent(&found, out)?,
                ATTRIBUTES => self.attributes(&found, out)?,
                USER_AGENT..=PARTNER => match &found.traffic[part - USER_AGENT] {
                    Some(text) if is_trim(text) && is_traffic(*part, text) => {
                        json::text(text, out)?;
                        true
                    }
                    Some(_) => return decline(Why::Rare),
                    None => false,
                },
                part => match self.part(part, &found)? {
                    Some((made, _, _)) if made.is_empty() => false,
                    Some(_) if part == CURRENCY && !is_purchase => return decline(Why::Rule),
                    Some((made, _, _)) => {
                        out.extend_from_slice(made);
                        true
                    }
                    None if part == CURRENCY || part == OPTIONS => false,
                    None => return decline(Why::Rule),
                },
            };
            if is_there {
                out.extend_from_slice(trail);
            } else {
                out.truncate(before);
            }
        }
        out.extend_from_slice(&self.terms.tail);
        Ok(Event { from, to: out.len(), time_ms: found.time_ms, key, hole, clear, spans })
    }

    /// The digest of the event's key; None if a part of it is missing (`connector/core/dedupe.py`).
    fn key(&self, parts: &[usize], found: &Found<'_>) -> Got<Option<[u8; digests::KEY]>> {
        let mut packed = Vec::with_capacity(64);
        for &part in parts {
            match part {
                ID => {
                    let Some(id) = &found.id else { return Ok(None) };
                    packed.push(b's');
                    json::number(id.len() as u64, &mut packed);
                    packed.push(b':');
                    packed.extend_from_slice(id.as_bytes());
                }
                part => match self.part(part, found)? {
                    Some((_, _, Some(identity))) => packed.extend_from_slice(identity),
                    _ => return Ok(None),
                },
            }
        }
        Ok(Some(digests::key(&packed)))
    }

    /// The id on the wire of a key that is more than the event's own id.
    fn id(&self, found: &Found<'_>, out: &mut Vec<u8>) -> Got<()> {
        let Some(digest) = self.key(&self.terms.id_parts, found)? else { return decline(Why::Id) };
        out.push(b'"');
        for byte in digest {
            for digit in [byte >> 4, byte & 15] {
                out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
            }
        }
        out.push(b'"');
        Ok(())
    }

    /// Write the match keys. Return where they are if a hash is missing, and add what it is of to `clear`.
    fn match_keys(&self, found: &Found<'_>, out: &mut Vec<u8>, clear: &mut Vec<Clear>) -> Got<Vec<(usize, usize)>> {
        let mut spans = [(0, 0); MOST_MATCH_KEYS];
        let count = match &found.match_keys {
            Items::Absent => return decline(Why::MatchKeys),
            Items::Told(keys) => {
                for (number, (kind, value)) in keys.iter().enumerate() {
                    let kind = self.remembered(KEY_TYPES, kind.as_bytes())?;
                    self.add_match_key(number, kind, value, found, out, clear, &mut spans)?;
                }
                keys.len()
            }
            Items::At(node, cursor) => {
                let mut cursor = *cursor;
                let Node::Array(item) = cursor.branch(node)? else { return decline(Why::MatchKeys) };
                let Node::Record(fields) = &**item else { return decline(Why::MatchKeys) };
                let count = cursor.block()?;
                for number in 0..count {
                    let (mut kind, mut value) = (None, None);
                    for Field { part, node } in fields {
                        let from = cursor.at;
                        match *part {
                            KEY_TYPE => {
                                cursor.skip(node)?;
                                kind = Some(self.remembered(KEY_TYPES, &cursor.bytes[from..cursor.at])?);
                            }
                            KEY_VALUE => value = text_or_null(node, &mut cursor, Why::MatchKeys)?,
                            _ => cursor.skip(node)?,
                        }
                    }
                    let (Some(kind), Some(value)) = (kind, value) else { return decline(Why::MatchKeys) };
                    self.add_match_key(number, kind, value, found, out, clear, &mut spans)?;
                }
                if count == 0 || cursor.block()? != 0 {
                    return decline(Why::MatchKeys); // none, or a second block
                }
                count
            }
        };
        if count == 0 {
            return decline(Why::MatchKeys);
        }
        out.push(b']');
        let spans = &spans[..count];
        if !clear.is_empty() {
            return Ok(spans.to_vec());
        }
        if has_twice(spans, out) {
            return decline(Why::MatchKeys);
        }
        Ok(Vec::new())
    }

    #[allow(clippy::too_many_arguments)]
    fn add_match_key(
        &self,
        number: usize,
        (name, how, _): &Made,
        value: &str,
        found: &Found<'_>,
        out: &mut Vec<u8>,
        clear: &mut Vec<Clear>,
        spans: &mut [(usize, usize); MOST_MATCH_KEYS],
    ) -> Got<()> {
        if number >= self.terms.most_match_keys.min(MOST_MATCH_KEYS) {
            return decline(Why::MatchKeys);
        }
        out.push(if number > 0 { b',' } else { b'[' });
        let begin = out.len();
        out.extend_from_slice(&self.terms.match_key[0]);
        out.extend_from_slice(name);
        out.extend_from_slice(&self.terms.match_key[1]);
        out.push(b'"');
        let at = out.len();
        if !self.match_key_value(*how, value.as_bytes(), out) {
            if !is_hashed(*how) {
                return decline(Why::MatchKeys);
            }
            if let Some(text) = self.normalised(*how, value) {
                digests::write_sha256_digits(text.as_bytes(), out);
            } else {
                let Some((country, _, _)) = self.part(COUNTRY, found)? else { return decline(Why::Rule) };
                let kind = String::from_utf8_lossy(name).trim_matches('"').to_owned();
                out.resize(at + HASH, b'-');
                clear.push(Clear { at, identifier: (kind, value.to_owned(), country.clone()) });
            }
        }
        out.push(b'"');
        out.extend_from_slice(&self.terms.match_key[2]);
        spans[number] = (begin, out.len());
        Ok(())
    }

    /// Write a value that is sent as it is, and return whether it is one.
    fn match_key_value(&self, how: u8, value: &[u8], out: &mut Vec<u8>) -> bool {
        let begin = out.len();
        out.extend_from_slice(value);
        let is_sent = match how {
            HASHED | EMAIL | NAME => {
                out[begin..].make_ascii_lowercase();
                let text = &out[begin..];
                // All hexadecimal digits are plain, so this is what `is_plain` asks.
                let is_digest = text.len() == HASH && all(text, |byte| byte.is_ascii_hexdigit());
                is_digest && any(text, |byte| matches!(byte, b'1'..=b'9')) && !self.is_disguised(text)
            }
            MATCH_ID => value.len() <= 100 && all(value, |byte| byte.is_ascii_alphanumeric()) && self.is_plain(value),
            RAW => self.is_plain(value),
            _ => false,
        };
        if !is_sent {
            out.truncate(begin);
        }
        is_sent
    }

    /// Write the consent, as `connector/amazon/consent.py` lays it out; return whether there is any.
    fn consent(&self, found: &Found<'_>, out: &mut Vec<u8>) -> Got<bool> {
        let [address, ad_storage, user_data, tcf, gpp] = found.consent.each_ref().map(|text| &**text);
        let begin = out.len();
        if !address.is_empty() {
            if !self.is_public(address) {
                return decline(Why::Consent);
            }
            out.extend_from_slice(b",\"geo\":{\"ipAddress\":");
            json::text(address, out)?;
            out.push(b'}');
        }
        if !ad_storage.is_empty() || !user_data.is_empty() {
            if user_data.is_empty() || (ad_storage.is_empty() && self.terms.consent_is_a_pair) || !tcf.is_empty() {
                return decline(Why::Consent);
            }
            let is_denied = !is_granted(user_data)? | (!ad_storage.is_empty() && !is_granted(ad_storage)?);
            if is_denied && !gpp.is_empty() {
                return decline(Why::Consent);
            }
            out.extend_from_slice(b",\"amazonConsent\":{\"amznUserData\":");
            out.extend_from_slice(if is_granted(user_data)? { b"\"GRANTED\"" } else { b"\"DENIED\"" });
            if !ad_storage.is_empty() {
                out.extend_from_slice(b",\"amznAdStorage\":");
                out.extend_from_slice(if is_granted(ad_storage)? { b"\"GRANTED\"" } else { b"\"DENIED\"" });
            }
            out.push(b'}');
        }
        for (name, text, has_form) in [("tcf", tcf, is_tcf(tcf)), ("gpp", gpp, is_gpp(gpp))] {
            if !text.is_empty() {
                if !has_form {
                    return decline(Why::Consent);
                }
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                json::text(text, out)?;
            }
        }
        if out.len() == begin {
            return if self.terms.consent_is_required { decline(Why::Consent) } else { Ok(false) };
        }
        out[begin] = b'{'; // in the place of the first comma
        out.push(b'}');
        Ok(true)
    }

    /// Write custom data and attributes, in this order; return whether there is any.
    fn attributes(&self, found: &Found<'_>, out: &mut Vec<u8>) -> Got<bool> {
        let mut names = Vec::new();
        match &found.custom_data {
            Items::Absent => {}
            Items::Told(told) => {
                for (name, kind, value) in told {
                    let (kind, how, _) = self.remembered(DATA_TYPES, kind.as_bytes())?;
                    self.typed_attribute(name, kind, *how, value, &mut names, out)?;
                }
            }
            Items::At(node, cursor) => {
                let mut cursor = *cursor;
                match cursor.branch(node)? {
                    Node::Null => {}
                    Node::Array(item) => self.typed_attributes(item, &mut cursor, &mut names, out)?,
                    _ => return decline(Why::Attributes),
                }
            }
        }
        match &found.attributes {
            Items::Absent => {}
            Items::Told(told) => {
                for (name, value) in told {
                    self.attribute(name, UNTYPED, value, &mut names, out)?;
                }
            }
            Items::At(node, cursor) => {
                let mut cursor = *cursor;
                match cursor.branch(node)? {
                    Node::Null => {}
                    Node::Map(value) => self.untyped_attributes(value, &mut cursor, &mut names, out)?,
                    _ => return decline(Why::Attributes),
                }
            }
        }
        if names.is_empty() {
            return Ok(false);
        }
        out.push(b']');
        Ok(true)
    }

    fn typed_attributes<'a>(
        &self,
        item: &Node,
        cursor: &mut Cursor<'a>,
        names: &mut Vec<&'a str>,
        out: &mut Vec<u8>,
    ) -> Got<()> {
        let Node::Record(fields) = item else { return decline(Why::Attributes) };
        let count = cursor.block()?;
        for _ in 0..count {
            let (mut name, mut value, mut kind) = (None, None, None);
            for Field { part, node } in fields {
                let from = cursor.at;
                match *part {
                    DATA_NAME => name = text_or_null(node, cursor, Why::Attributes)?,
                    DATA_VALUE => value = text_or_null(node, cursor, Why::Attributes)?,
                    DATA_TYPE => {
                        cursor.skip(node)?;
                        kind = Some(self.remembered(DATA_TYPES, &cursor.bytes[from..cursor.at])?);
                    }
                    _ => cursor.skip(node)?,
                }
            }
            let (Some(name), Some(value), Some((kind, how, _))) = (name, value, kind) else {
                return decline(Why::Attributes);
            };
            self.typed_attribute(name, kind, *how, value, names, out)?;
        }
        if count > 0 && cursor.block()? != 0 {
            return decline(Why::Attributes); // a second block
        }
        Ok(())
    }

    fn typed_attribute<'a>(
        &self,
        name: &'a str,
        kind: &[u8],
        how: u8,
        value: &str,
        names: &mut Vec<&'a str>,
        out: &mut Vec<u8>,
    ) -> Got<()> {
        if how == INTEGER && !is_int32(value) {
            return decline(Why::Attributes);
        }
        self.attribute(name, kind, value, names, out)
    }

    fn untyped_attributes<'a>(
        &self,
        value: &Node,
        cursor: &mut Cursor<'a>,
        names: &mut Vec<&'a str>,
        out: &mut Vec<u8>,
    ) -> Got<()> {
        let count = cursor.block()?;
        for _ in 0..count {
            let name = cursor.text()?;
            let Some(text) = text_or_null(value, cursor, Why::Attributes)? else { return decline(Why::Attributes) };
            self.attribute(name, UNTYPED, text, names, out)?;
        }
        if count > 0 && cursor.block()? != 0 {
            return decline(Why::Attributes); // a second block
        }
        Ok(())
    }

    fn attribute<'a>(&self, name: &'a str, kind: &[u8], value: &str, names: &mut Vec<&'a str>, out: &mut Vec<u8>) -> Got<()> {
        let has_form = if self.terms.any_attribute_text { is_trim(value) } else { value.bytes().all(is_word) };
        let is_sent = !name.is_empty()
            && name.bytes().all(is_word)
            && !names.contains(&name)
            && names.len() < self.terms.most_attributes
            && !value.is_empty()
            && value.chars().count() <= MOST_ATTRIBUTE_TEXT;
        if !has_form || !is_sent {
            return decline(Why::Attributes);
        }
        out.push(if names.is_empty() { b'[' } else { b',' });
        names.push(name);
        let (before_name, before_kind, before_value, end) = &self.terms.attribute;
        out.extend_from_slice(before_name);
        json::text(name, out)?;
        if let Some(before_kind) = before_kind {
            out.extend_from_slice(before_kind);
            out.extend_from_slice(kind);
        }
        out.extend_from_slice(before_value);
        json::text(value, out)?;
        out.extend_from_slice(end);
        Ok(())
    }
}

type Columns<'py> =
    (Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyDict>, Bound<'py, PyList>, Bound<'py, PyList>);

/// What the connector says of a writer's schema, a contract and a key, by name (`connector/codec.py`).
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Terms {
    record: Py<PyAny>,
    /// None: the fields of the record are the inputs.
    mapping: Option<Py<PyAny>>,
    units_per_millisecond: i64,
    /// The parts of the payload, with the bytes before and after each.
    pieces: Vec<(Vec<u8>, usize, Vec<u8>)>,
    tail: Vec<u8>,
    match_key: [Vec<u8>; 3],
    /// The bytes before name, type and value, and at the end; without a type where the contract has none.
    attribute: (Vec<u8>, Option<Vec<u8>>, Vec<u8>, Vec<u8>),
    most_match_keys: usize,
    most_attributes: usize,
    any_attribute_text: bool,
    consent_is_required: bool,
    consent_is_a_pair: bool,
    /// Networks of which an address is not public: first address and mask.
    local: Vec<(u32, u32)>,
    /// Texts that stand for nothing although they look like an id, in lower case.
    disguised: HashSet<String>,
    /// Words that stand for nothing even where people have names, without anything but letters and digits.
    nameless: HashSet<String>,
    key_parts: Vec<usize>,
    /// In the order in which they make the id on the wire; empty if the event's own id is the key, and is sent as it is.
    id_parts: Vec<usize>,
    most_bytes: usize,
    fill: Py<PyAny>,
    /// Makes the hashes of personal identifiers in clear.
    hash: Py<PyAny>,
}

#[pymethods]
impl Codec {
    #[new]
    fn new(py: Python<'_>, terms: Terms) -> PyResult<Self> {
        let refused = |why| Err(pyo3::exceptions::PyValueError::new_err(why));
        let Node::Record(fields) = Node::read(terms.record.bind(py))? else { return refused("an event is a record") };
        let is_known = |part: &usize| (1..ABSENT).contains(part);
        let is_key = |part: &usize| (1..OPTIONS).contains(part) || *part == ID;
        if !terms.pieces.iter().all(|(_, part, _)| is_known(part)) || terms.units_per_millisecond < 1 {
            return refused("a part that is not known");
        }
        if terms.key_parts.is_empty() || !terms.key_parts.iter().chain(&terms.id_parts).all(is_key) {
            return refused("a key of parts that are not known");
        }
        Ok(Codec {
            source: match &terms.mapping {
                None => Source::Fields(fields),
                Some(told) => Source::Mapping(Program::read(fields, told.bind(py))?),
            },
            disguised: Traces::of(terms.disguised.iter().map(String::as_bytes)),
            terms,
            memos: (0..MEMOS).map(|_| Memo::default()).collect(),
            declined: [0; REASONS.len()],
        })
    }

    /// Of each value: payload, time and dedupe key; None of each where nothing was made of it: it is declined, is None itself,
    /// or is in one of the two lists of indices. Without a dedupe key the last is None.
    ///
    /// The dict has the index of each payload that lacks its id, with the place for it; the list after it has the indices of
    /// the values that are no events for Amazon. The event of a value comes after the bytes `before`; the last list has the
    /// indices of the values that do not begin so. `asked` has what the functions of the mapping give that read the record of
    /// Kafka, for each value; nothing where one fails, or where there are none.
    #[pyo3(signature = (values, before, asked = Vec::new()))]
    fn read<'py>(
        &mut self,
        py: Python<'py>,
        values: Vec<Option<Bound<'py, PyBytes>>>,
        before: &[u8],
        asked: Vec<Vec<Bound<'py, PyAny>>>,
    ) -> PyResult<Columns<'py>> {
        let bytes: Vec<Option<&[u8]>> = values.iter().map(|value| value.as_ref().map(|each| each.as_bytes())).collect();
        let asked = asked.iter().map(|each| each.iter().map(Constant::read).collect()).collect::<PyResult<Vec<Vec<_>>>>()?;
        let mut read =
            Read { out: Vec::with_capacity(bytes.len() * 512), events: Vec::with_capacity(bytes.len()), ..Read::default() };
        while read.events.len() < bytes.len() {
            let unknown = py.detach(|| self.read_on(&bytes, before, &asked, &mut read));
            if let Some((memo, remembered)) = unknown {
                let made: Entry = self.terms.fill.call1(py, (memo, PyBytes::new(py, &remembered)))?.extract(py)?;
                let memo = &mut self.memos[memo];
                if memo.len() >= MOST_ENTRIES {
                    memo.clear();
                }
                memo.insert(remembered.into(), made);
            }
        }
        self.hash(py, &mut read)?;
        let Read { out, events, filtered, others } = read;
        let holes = PyDict::new(py);
        for (number, event) in events.iter().enumerate() {
            if let Some(Event { hole: Some(hole), .. }) = event {
                holes.set_item(number, hole)?;
            }
        }
        let events = || events.iter().map(Option::as_ref);
        let payloads = PyList::new(py, events().map(|event| event.map(|each| PyBytes::new(py, &out[each.from..each.to]))))?;
        let times = PyList::new(py, events().map(|event| event.map(|each| each.time_ms)))?;
        let keys = PyList::new(py, events().map(|event| event.and_then(|each| each.key.map(|key| PyBytes::new(py, &key)))))?;
        Ok((payloads, times, keys, holes, PyList::new(py, filtered)?, PyList::new(py, others)?))
    }

    /// How many records were declined since the last call, by reason.
    fn take_declined(&mut self) -> Vec<(&'static str, u64)> {
        let counts = std::mem::take(&mut self.declined);
        REASONS.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

/// What was made of the first of some values.
#[derive(Default)]
struct Read {
    out: Vec<u8>,
    events: Vec<Option<Event>>,
    filtered: Vec<usize>,
    others: Vec<usize>,
}

impl Codec {
    /// Read values until the last one, or until a memo lacks something.
    fn read_on(
        &mut self,
        values: &[Option<&[u8]>],
        before: &[u8],
        asked: &[Vec<Constant>],
        read: &mut Read,
    ) -> Option<(usize, Vec<u8>)> {
        let Read { out, events, filtered, others } = read;
        while let Some(value) = values.get(events.len()) {
            let Some(value) = value.filter(|value| value.starts_with(before)) else {
                if value.is_some() {
                    others.push(events.len());
                }
                events.push(None);
                continue;
            };
            let end = out.len();
            let asked = asked.get(events.len()).map_or(&[][..], Vec::as_slice);
            // A bug in here must not end the process: the record is Python's then, like any that is declined.
            let read = catch_unwind(AssertUnwindSafe(|| self.encode(value, before.len(), asked, out)));
            let read = read.unwrap_or_else(|_| decline(Why::Panic));
            if read.is_err() {
                out.truncate(end);
            }
            match read {
                Ok(event) => events.push(Some(event)),
                Err(No::Declined(why)) => {
                    self.declined[why as usize] += 1;
                    events.push(None);
                }
                Err(No::Filtered) => {
                    filtered.push(events.len());
                    events.push(None);
                }
                Err(No::Unknown(memo, bytes)) => return Some((memo, bytes)),
            }
        }
        None
    }

    /// Put the hashes that Python makes of personal identifiers in clear to their places.
    ///
    /// It makes the hash of one that occurs several times in a call once: people come back, and live in the same cities.
    fn hash(&mut self, py: Python<'_>, read: &mut Read) -> PyResult<()> {
        let Read { out, events, .. } = read;
        let mut asked: Vec<&Identifier> = Vec::new();
        let mut numbers: HashMap<&Identifier, usize> = HashMap::new();
        let mut places: Vec<usize> = Vec::new();
        for Clear { identifier, .. } in events.iter().flatten().flat_map(|event| &event.clear) {
            places.push(*numbers.entry(identifier).or_insert_with(|| {
                asked.push(identifier);
                asked.len() - 1
            }));
        }
        if asked.is_empty() {
            return Ok(());
        }
        let asked = PyList::new(py, asked.iter().map(|(kind, text, country)| (kind, text, PyBytes::new(py, country))))?;
        let hashes: Vec<String> = self.terms.hash.call1(py, (asked,))?.extract(py)?;
        let mut hashes = places.iter().map(|&number| hashes.get(number).map_or("", String::as_str));
        for event in events.iter_mut() {
            let Some(Event { clear, spans, .. }) = event else { continue };
            let mut is_sent = true;
            for (each, hash) in clear.iter().zip(&mut hashes) {
                match out.get_mut(each.at..each.at + HASH) {
                    Some(place) if hash.len() == HASH => place.copy_from_slice(hash.as_bytes()),
                    _ => is_sent = false,
                }
            }
            if !is_sent || has_twice(spans, out) {
                self.declined[Why::MatchKeys as usize] += 1;
                *event = None;
            }
        }
        Ok(())
    }
}
