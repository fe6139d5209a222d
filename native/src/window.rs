//! The dedupe window: digests that count as seen, each with its day. Exact, in 16 bytes a slot.
//!
//! Keys are in 256 shards by the first byte of their digest, so that a slot holds the other 15 bytes, and in the sixteenth
//! byte the day. A shard is a row of segments, each for a range of digests. A segment is a hash table in the order of its
//! digests (ordered linear probing): a search ends at the first greater digest, even in a table that is nearly full.
//!
//! No call takes long. A segment grows by a quarter, in place, and splits when it is large; expiry and freeing look at a
//! bounded number of slots per call. A table is made of small pages of one size, so that memory which one segment gives
//! back fits another, and none is lost between them.
use std::hint::black_box;
use std::ops::{Index, IndexMut};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

const DIGEST: usize = 16;
const SHARDS: usize = 256;
const DAY_MS: i64 = 86_400_000;

/// Percent of its homes that are taken when a segment grows, and after it has grown.
const FULL: usize = 90;
const GROWN: usize = 72;
/// Keys at which a segment splits instead of growing. It has 256 KB then, which fit into a processor's cache.
const MOST_KEYS: usize = 14_000;
/// Slots after which expiry and freeing pause, at the end of a segment. A step takes less than a millisecond.
const SLOTS_AT_ONCE: usize = 50_000;
/// Keys whose slots are loaded into the cache together: the memory answers many requests at once.
const KEYS_AHEAD: usize = 32;
/// Slots in a line of the cache. A search in a table that is nearly full goes on into the second line, or the third.
const LINE: usize = 4;

/// Index of the shard of a digest, and the other 15 bytes: eight, and seven above a byte that is left for the tag.
fn parts(digest: &[u8; DIGEST]) -> (usize, u64, u64) {
    let number = u128::from_be_bytes(*digest);
    (usize::from(digest[0]), (number >> 56) as u64, (number as u64) << 8)
}

/// Two words: the high bytes of a digest, and its low bytes with the tag of its day, which is 0 in an empty slot.
type Slot = [u64; 2];
const EMPTY: Slot = [0, 0];

fn tag(slot: Slot) -> usize {
    (slot[1] & 0xFF) as usize
}

fn digest_of(slot: Slot) -> (u64, u64) {
    (slot[0], slot[1] & !0xFF)
}

const PAGE: usize = 64;
/// Slots behind the last home of a table, for what the homes push out.
const BEHIND: usize = 16;
/// With its pointer, and with what the allocator keeps beside it.
const PAGE_BYTES: usize = PAGE * size_of::<Slot>() + 24;

/// Slots in pages: a vector that grows and shrinks where it is.
#[derive(Default)]
struct Table {
    pages: Vec<Box<[Slot; PAGE]>>,
}

impl Table {
    fn len(&self) -> usize {
        self.pages.len() * PAGE
    }

    fn get(&self, at: usize) -> Option<Slot> {
        self.pages.get(at / PAGE).map(|page| page[at % PAGE])
    }

    fn resize(&mut self, slots: usize) {
        let pages = slots.div_ceil(PAGE);
        if pages > self.pages.len() {
            self.pages.reserve_exact(pages - self.pages.len());
        }
        self.pages.resize_with(pages, || Box::new([EMPTY; PAGE]));
        self.pages.shrink_to_fit();
    }
}

impl Index<usize> for Table {
    type Output = Slot;
    fn index(&self, at: usize) -> &Slot {
        &self.pages[at / PAGE][at % PAGE]
    }
}

impl IndexMut<usize> for Table {
    fn index_mut(&mut self, at: usize) -> &mut Slot {
        &mut self.pages[at / PAGE][at % PAGE]
    }
}

/// The digests whose high word is in `first .. first + 2^bits`.
struct Segment {
    bits: u32,
    first: u64,
    /// Slots that a digest may be meant for. Some follow, for what the last ones push out.
    homes: usize,
    used: usize,
    slots: Table,
}

impl Segment {
    fn new(first: u64, bits: u32) -> Self {
        Segment { bits, first, homes: 0, used: 0, slots: Table::default() }
    }

    fn home(&self, high: u64) -> usize {
        ((u128::from(high - self.first) * self.homes as u128) >> self.bits) as usize
    }

    /// Where a digest is, or where it would stand; and whether it is there.
    fn find(&self, high: u64, low: u64) -> (usize, bool) {
        let mut at = self.home(high);
        while let Some(slot) = self.slots.get(at) {
            if tag(slot) == 0 || digest_of(slot) > (high, low) {
                break;
            }
            if digest_of(slot) == (high, low) {
                return (at, true);
            }
            at += 1;
        }
        (at, false)
    }

    fn is_full(&self) -> bool {
        (self.used + 1) * 100 > self.homes * FULL
    }

    /// Put a new digest where `find` said; what stands there moves on by one.
    fn insert(&mut self, at: usize, slot: Slot) {
        let (mut at, mut moving) = (at, slot);
        while tag(moving) != 0 {
            if at == self.slots.len() {
                self.slots.resize(at + 1);
            }
            std::mem::swap(&mut self.slots[at], &mut moving);
            at += 1;
        }
        self.used += 1;
    }

    /// Leave only what `keep` wants, at the front and without gaps.
    fn pack(&mut self, keep: impl Fn(usize) -> bool) {
        self.used = 0;
        for at in 0..self.slots.len() {
            let slot = std::mem::replace(&mut self.slots[at], EMPTY);
            if tag(slot) != 0 && keep(tag(slot)) {
                self.slots[self.used] = slot;
                self.used += 1;
            }
        }
    }

    /// Lay out what was packed in a table of the size that it needs.
    fn spread(&mut self) {
        // All pages are used that would be there anyway, but for some slots behind the last home: small tables grow rarely.
        let least = ((self.used + 1) * 100).div_ceil(GROWN);
        self.homes = (least + BEHIND).next_multiple_of(PAGE) - BEHIND;
        let mut places = Vec::with_capacity(self.used);
        let mut next = 0;
        for at in 0..self.used {
            let place = self.home(self.slots[at][0]).max(next);
            places.push(place);
            next = place + 1;
        }
        let size = next.max(self.homes);
        if size > self.slots.len() {
            self.slots.resize(size);
        }
        for (at, &place) in places.iter().enumerate().rev() {
            self.slots[place] = std::mem::replace(&mut self.slots[at], EMPTY); // never to the front of where it is
        }
        self.slots.resize(size);
    }

    /// Keep the lower half of the range; return the upper one.
    fn split(&mut self) -> Segment {
        self.pack(|_| true);
        self.bits -= 1;
        let mut upper = Segment::new(self.first + (1 << self.bits), self.bits);
        let moved = (0..self.used).rev().take_while(|&at| self.slots[at][0] >= upper.first).count();
        upper.slots.resize(moved);
        for at in 0..moved {
            upper.slots[at] = std::mem::replace(&mut self.slots[self.used - moved + at], EMPTY);
        }
        upper.used = moved;
        self.used -= moved;
        self.spread();
        upper.spread();
        upper
    }

    fn tags(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.pages.iter().flat_map(|page| page.iter()).map(|&slot| tag(slot)).filter(|&tag| tag != 0)
    }
}

/// The segments of one shard, in order. There is at least one, and together they have every digest.
struct Shard {
    firsts: Vec<u64>,
    segments: Vec<Segment>,
}

impl Shard {
    fn new() -> Self {
        Shard { firsts: vec![0], segments: vec![Segment::new(0, u64::BITS)] }
    }

    fn index(&self, high: u64) -> usize {
        if self.segments.len() == 1 {
            return 0; // up to some million keys: one line of the cache less is read
        }
        self.firsts.partition_point(|&first| first <= high) - 1
    }

    fn segment(&self, high: u64) -> &Segment {
        &self.segments[self.index(high)]
    }

    fn contains(&self, high: u64, low: u64) -> bool {
        self.segment(high).find(high, low).1
    }

    /// The slot of a digest with its place, whether it was there or is new.
    fn place(&mut self, high: u64, low: u64, new_tag: usize) -> (&mut Slot, bool) {
        let mut index = self.index(high);
        let (mut at, found) = self.segments[index].find(high, low);
        if !found {
            if self.segments[index].is_full() {
                self.make_room(index);
                index = self.index(high);
                at = self.segments[index].find(high, low).0;
            }
            self.segments[index].insert(at, [high, low | new_tag as u64]);
        }
        (&mut self.segments[index].slots[at], found)
    }

    fn make_room(&mut self, index: usize) {
        let segment = &mut self.segments[index];
        if segment.used < MOST_KEYS || segment.bits == 0 {
            segment.pack(|_| true);
            segment.spread();
        } else {
            let upper = segment.split();
            self.firsts.insert(index + 1, upper.first);
            self.segments.insert(index + 1, upper);
        }
    }
}

/// A day that keys have, by its tag less one.
struct Day {
    day: i64,
    keys: usize,
}

#[pyclass]
pub struct SeenKeys {
    shards: Vec<Shard>,
    days: Vec<Day>,
    /// Shard and segment that the sweep under way, or the freeing, looks at next.
    next: (usize, usize),
    /// Whether freeing has begun: it starts at the first shard, wherever a sweep was.
    freeing: bool,
    oldest: i64,
}

impl SeenKeys {
    /// The tag of a day. The keys of one day have one tag.
    ///
    /// A byte has room for 255 days at once, and a window has a handful. Beyond that a key gets a later day than its own:
    /// it counts for longer, never shorter.
    fn tag(&mut self, day: i64) -> usize {
        if let Some(at) = self.days.iter().position(|known| known.day == day && known.keys > 0) {
            return at + 1;
        }
        if let Some(at) = self.days.iter().position(|known| known.keys == 0) {
            self.days[at].day = day;
            return at + 1;
        }
        if self.days.len() < 0xFF {
            self.days.push(Day { day, keys: 0 });
            return self.days.len();
        }
        let days = || self.days.iter().enumerate();
        let later = days().filter(|(_, known)| known.day > day).min_by_key(|(_, known)| known.day);
        let at = later.or_else(|| days().max_by_key(|(_, known)| known.day)).map_or(0, |(at, _)| at);
        self.days[at].day = self.days[at].day.max(day);
        at + 1
    }

    fn put(&mut self, digest: &[u8; DIGEST], time_ms: i64) {
        let (shard, high, low) = parts(digest);
        let tag_of_day = self.tag(time_ms.div_euclid(DAY_MS));
        let (slot, found) = self.shards[shard].place(high, low, tag_of_day);
        if found {
            let before = tag(*slot);
            if self.days[before - 1].day >= self.days[tag_of_day - 1].day {
                return;
            }
            *slot = [high, low | tag_of_day as u64];
            self.days[before - 1].keys -= 1;
        }
        self.days[tag_of_day - 1].keys += 1;
    }

    /// Note digests, each with its time or the least one, whichever is later.
    fn take(&mut self, digests: &[Option<&[u8; DIGEST]>], times: &[i64], least_ms: i64) {
        for (digests, times) in digests.chunks(KEYS_AHEAD).zip(times.chunks(KEYS_AHEAD)) {
            self.load(digests.iter().copied().flatten());
            for (digest, &time_ms) in digests.iter().zip(times) {
                if let Some(digest) = digest {
                    self.put(digest, time_ms.max(least_ms));
                }
            }
        }
    }

    /// Load the slots of some digests into the cache.
    ///
    /// All homes are found before any slot is read, so that the reads, of which none depends on another, overlap.
    fn load<'a>(&self, digests: impl Iterator<Item = &'a [u8; DIGEST]>) {
        let homes: Vec<_> = digests
            .map(|digest| {
                let (shard, high, _) = parts(digest);
                let segment = self.shards[shard].segment(high);
                (&segment.slots, segment.home(high))
            })
            .collect();
        let mut loaded = 0;
        for (slots, home) in homes {
            for at in [home, home + LINE, home + 2 * LINE] {
                loaded ^= slots.get(at).map_or(0, |slot| slot[0]);
            }
        }
        black_box(loaded);
    }

    /// Visit segments from `next` on, until enough slots were looked at or none is left; return whether any is left.
    fn step(&mut self, mut visit: impl FnMut(&mut Segment, &mut [Day])) -> bool {
        let mut looked_at = 0;
        let (mut shard, mut segment) = self.next;
        while shard < SHARDS && looked_at < SLOTS_AT_ONCE {
            match self.shards[shard].segments.get_mut(segment) {
                Some(found) => {
                    looked_at += found.slots.len() + 1;
                    visit(found, &mut self.days);
                    segment += 1;
                }
                None => (shard, segment) = (shard + 1, 0),
            }
        }
        self.next = if shard < SHARDS { (shard, segment) } else { (0, 0) };
        shard < SHARDS
    }
}

fn exact(digest: &[u8]) -> PyResult<&[u8; DIGEST]> {
    digest.try_into().map_err(|_| PyValueError::new_err("a digest has 16 bytes"))
}

/// A column of digests, with None for an event without a key.
fn column(keys: &Bound<'_, PyAny>) -> PyResult<Vec<Option<[u8; DIGEST]>>> {
    let digest = |key: Bound<'_, PyAny>| key.extract::<Option<&[u8]>>()?.map(|key| exact(key).copied()).transpose();
    keys.try_iter()?.map(|key| digest(key?)).collect()
}

fn numbers(times: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    match PyBuffer::<i64>::get(times) {
        Ok(buffer) => buffer.to_vec(times.py()),
        Err(_) => times.try_iter()?.map(|time| time?.extract()).collect(),
    }
}

#[pymethods]
impl SeenKeys {
    #[new]
    fn new() -> Self {
        SeenKeys {
            shards: (0..SHARDS).map(|_| Shard::new()).collect(),
            days: Vec::new(),
            next: (0, 0),
            freeing: false,
            oldest: 0,
        }
    }

    fn __len__(&self) -> usize {
        self.days.iter().map(|day| day.keys).sum()
    }

    fn __contains__(&self, key: &[u8]) -> PyResult<bool> {
        let (shard, high, low) = parts(exact(key)?);
        Ok(self.shards[shard].contains(high, low))
    }

    #[getter]
    fn size_bytes(&self) -> usize {
        let segments = self.shards.iter().flat_map(|shard| &shard.segments);
        segments.map(|segment| size_of::<(Segment, u64)>() + segment.slots.pages.len() * PAGE_BYTES).sum()
    }

    fn find(&self, keys: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
        let digests = column(keys)?;
        let mut found = Vec::new();
        for (chunk, digests) in digests.chunks(KEYS_AHEAD).enumerate() {
            self.load(digests.iter().flatten());
            for (at, digest) in digests.iter().enumerate() {
                let is_seen = digest.as_ref().is_some_and(|digest| {
                    let (shard, high, low) = parts(digest);
                    self.shards[shard].contains(high, low)
                });
                if is_seen {
                    found.push(chunk * KEYS_AHEAD + at);
                }
            }
        }
        Ok(found)
    }

    #[pyo3(signature = (keys, times, acknowledged_ms = 0))]
    fn add(&mut self, keys: &Bound<'_, PyAny>, times: &Bound<'_, PyAny>, acknowledged_ms: i64) -> PyResult<()> {
        let (digests, times) = (column(keys)?, numbers(times)?);
        if digests.len() != times.len() {
            return Err(PyValueError::new_err("each key has one time"));
        }
        self.take(&digests.iter().map(Option::as_ref).collect::<Vec<_>>(), &times, acknowledged_ms);
        Ok(())
    }

    #[pyo3(signature = (keys, times, written_ms = 0))]
    fn add_packed(&mut self, py: Python<'_>, keys: &[u8], times: &Bound<'_, PyAny>, written_ms: i64) -> PyResult<()> {
        let times = numbers(times)?;
        if keys.len() != times.len() * DIGEST {
            return Err(PyValueError::new_err("each digest of 16 bytes has one time"));
        }
        let digest = |key| exact(key).map(|key| (*key != [0; DIGEST]).then_some(key));
        let digests = keys.chunks_exact(DIGEST).map(digest).collect::<PyResult<Vec<_>>>()?;
        py.detach(|| self.take(&digests, &times, written_ms));
        Ok(())
    }

    fn expire(&mut self, oldest_ms: i64) -> bool {
        if self.next == (0, 0) {
            self.oldest = oldest_ms.div_euclid(DAY_MS); // for the whole sweep, even if midnight passes meanwhile
            if self.days.iter().all(|day| day.keys == 0 || day.day >= self.oldest) {
                return false;
            }
        }
        let oldest = self.oldest;
        self.step(|segment, days| {
            let mut stale = 0;
            for tag in segment.tags() {
                let day = &mut days[tag - 1];
                if day.day < oldest {
                    day.keys -= 1;
                    stale += 1;
                }
            }
            if stale > 0 {
                segment.pack(|tag| days[tag - 1].day >= oldest);
                segment.spread();
            }
        })
    }

    fn free(&mut self) -> bool {
        if !self.freeing {
            (self.freeing, self.next) = (true, (0, 0));
        }
        self.step(|segment, days| {
            for tag in segment.tags() {
                days[tag - 1].keys -= 1;
            }
            *segment = Segment::new(segment.first, segment.bits);
        })
    }
}
