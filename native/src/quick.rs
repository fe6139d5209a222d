//! What is looked up for every event: memos, and a glance that spares most look-ups.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// What is remembered by the bytes of a field.
pub type Memo<T> = HashMap<Box<[u8]>, T, Seeded>;

/// Hashes the few bytes of a field faster than the standard library does.
///
/// Keys come from records, so the seed is a secret of this process. Nobody can make keys that collide without it.
pub struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Seeded(RandomState::new().hash_one(0u64))
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding { state: self.0, seed: self.0 | 1 }
    }
}

pub struct Folding {
    state: u64,
    seed: u64,
}

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// The first eight bytes of a text, or all of them where there are fewer, some of them twice.
fn word(bytes: &[u8]) -> u64 {
    let half = |four: &[u8; 4]| u64::from(u32::from_le_bytes(*four));
    if let Some(eight) = bytes.first_chunk() {
        return u64::from_le_bytes(*eight);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return half(first) | half(last) << 32;
    }
    bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            self.state = fold(self.state ^ word(part), self.seed ^ ODD);
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.state = fold(self.state ^ number as u64, self.seed ^ ODD);
    }

    fn finish(&self) -> u64 {
        fold(self.state, ODD)
    }
}

/// Tells of nearly every text, at a glance, that it is not one of a set. Upper and lower case are the same.
pub struct Traces {
    bits: Vec<u64>,
}

/// Bits, as a power of two: some thousand texts leave nearly all of them clear.
const TRACES: u32 = 18;

impl Traces {
    pub fn of<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut bits = vec![0; 1 << (TRACES - u64::BITS.ilog2())];
        for trace in texts.map(trace) {
            bits[trace / 64] |= 1 << (trace % 64);
        }
        Traces { bits }
    }

    /// Whether a text may be one of the set; never false for one that is.
    pub fn may_have(&self, text: &[u8]) -> bool {
        let trace = trace(text);
        self.bits[trace / 64] >> (trace % 64) & 1 == 1
    }
}

/// The bit of a text: from its length and its first bytes, without the bit that tells upper from lower case.
fn trace(text: &[u8]) -> usize {
    let head = word(text) | 0x2020_2020_2020_2020;
    let mixed = (head ^ (text.len() as u64).wrapping_mul(ODD)).wrapping_mul(ODD);
    (mixed >> (u64::BITS - TRACES)) as usize
}
