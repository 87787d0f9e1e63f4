//! A hash table that is read without a lock and without a write that others see.
//!
//! Buckets are one cache line each: seven entries and, in one word, a tag of eight bits for each. A key may be in
//! either of two buckets (two-choice hashing), so nothing is ever moved: a reader that meets a writer finds the old
//! entry, the new one or none, and a cache may always answer none. Readers borrow an entry by `arc-swap`, whose marks
//! are a thread's own. Writers take turns: they need the one [`Writer`], which the store keeps behind its lock.
//!
//! The table does not grow: it has a bucket for every four entries that it is made for. In a simulation of a full cache
//! four of 80,000 insertions met two full buckets; the caller is told, and makes room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};

use super::entry::Entry;

/// Entries of a bucket: with their tags they fill a cache line.
const BUCKET_ENTRIES: usize = 7;
/// Entries for which a bucket is made.
const BUCKET_LOAD: usize = 4;

/// The highest bit of each of the seven octets that are tags.
const TAG_BITS: u64 = 0x0080_8080_8080_8080;
/// The lowest bit of each of the eight octets of a word.
const EACH_OCTET: u64 = 0x0101_0101_0101_0101;

#[derive(Debug)]
pub(super) struct Table {
    buckets: Box<[Bucket]>,
}

/// The right to change a table; there is one.
#[derive(Debug)]
pub(super) struct Writer(());

/// An entry, borrowed from the table.
pub(super) struct Found(Guard<Option<Arc<Entry>>>);

/// No bucket that the key may be in has room; these are the entries there.
#[derive(Debug)]
pub(super) struct Full(pub(super) Vec<Arc<Entry>>);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// One octet an entry; 0 for none.
    tags: AtomicU64,
    entries: [ArcSwapOption<Entry>; BUCKET_ENTRIES],
}

impl Table {
    /// An empty table for this many entries, and the right to change it.
    pub(super) fn new(entries: usize) -> (Table, Writer) {
        let buckets = 0..entries.div_ceil(BUCKET_LOAD).max(2);
        let table = Table {
            buckets: buckets.map(|_| Bucket::default()).collect(),
        };
        (table, Writer(()))
    }

    /// The entry whose key this is.
    #[inline]
    pub(super) fn find(&self, hash: u64, is: impl Fn(&[u8]) -> bool) -> Option<Found> {
        let [first, second] = self.choices(hash);
        let found = first.find(hash, &is).or_else(|| second.find(hash, &is));
        found.map(|(_, found)| found)
    }

    /// Puts an entry where its key is or may be; gives back the entry that it replaced.
    pub(super) fn put(
        &self,
        _: &mut Writer,
        entry: &Arc<Entry>,
    ) -> Result<Option<Arc<Entry>>, Full> {
        let hash = entry.hash();
        let choices = self.choices(hash);
        for bucket in choices {
            if let Some((at, _)) = bucket.find(hash, &|key: &[u8]| key == entry.key()) {
                return Ok(bucket.entries[at].swap(Some(entry.clone())));
            }
        }
        let [first, second] = choices;
        // The first is looked at first: it is taken as long as it has no more than its share.
        let bucket = if first.len() <= second.len().max(BUCKET_LOAD) {
            first
        } else {
            second
        };
        let Some(at) = bucket.free() else {
            return Err(Full(choices.into_iter().flat_map(Bucket::all).collect()));
        };
        bucket.entries[at].store(Some(entry.clone()));
        bucket.tag(at, tag(hash));
        Ok(None)
    }

    /// Takes out this very entry, if it is there.
    pub(super) fn remove(&self, _: &mut Writer, entry: &Arc<Entry>) {
        for bucket in self.choices(entry.hash()) {
            if let Some((at, found)) = bucket.find(entry.hash(), &|key: &[u8]| key == entry.key())
                && std::ptr::eq(&raw const *found, Arc::as_ptr(entry))
            {
                bucket.tag(at, 0);
                bucket.entries[at].store(None);
                return;
            }
        }
    }

    /// All entries, each once; what is written meanwhile may be among them or not.
    pub(super) fn entries(&self) -> impl Iterator<Item = Arc<Entry>> {
        let buckets = self.buckets.iter();
        let used = buckets.filter(|bucket| bucket.tags.load(Ordering::Acquire) != 0);
        used.flat_map(Bucket::all)
    }

    /// The two buckets of a hash: by its upper and by its lower half.
    #[inline]
    fn choices(&self, hash: u64) -> [&Bucket; 2] {
        let count = self.buckets.len() as u64;
        [hash >> 32, hash & 0xffff_ffff].map(|half| &self.buckets[((half * count) >> 32) as usize])
    }
}

impl std::ops::Deref for Found {
    type Target = Entry;

    #[inline]
    fn deref(&self) -> &Entry {
        self.0.as_ref().expect("made of an entry")
    }
}

impl Found {
    /// The entry, to be kept for longer.
    pub(super) fn share(&self) -> Arc<Entry> {
        self.0.as_ref().expect("made of an entry").clone()
    }
}

impl Bucket {
    #[inline]
    fn find(&self, hash: u64, is: &impl Fn(&[u8]) -> bool) -> Option<(usize, Found)> {
        let tags = self.tags.load(Ordering::Acquire);
        // An octet that is equal becomes zero. Borrows may make a match of an unequal one: keys are compared.
        let unlike = tags ^ (EACH_OCTET * u64::from(tag(hash)));
        let mut alike = unlike.wrapping_sub(EACH_OCTET) & !unlike & TAG_BITS;
        while alike != 0 {
            let at = alike.trailing_zeros() as usize / 8;
            alike &= alike - 1;
            let found = self.entries[at].load();
            if found.as_ref().is_some_and(|entry| is(entry.key())) {
                return Some((at, Found(found)));
            }
        }
        None
    }

    fn octets(&self) -> [u8; 8] {
        self.tags.load(Ordering::Relaxed).to_le_bytes()
    }

    fn len(&self) -> usize {
        self.octets().iter().filter(|tag| **tag != 0).count()
    }

    fn free(&self) -> Option<usize> {
        self.octets()[..BUCKET_ENTRIES]
            .iter()
            .position(|tag| *tag == 0)
    }

    fn all(&self) -> impl Iterator<Item = Arc<Entry>> {
        self.entries.iter().filter_map(ArcSwapOption::load_full)
    }

    /// One writer at a time, so reading and writing need not be one step.
    fn tag(&self, at: usize, tag: u8) {
        let mut octets = self.octets();
        octets[at] = tag;
        // Release: who sees the tag sees the entry.
        self.tags
            .store(u64::from_le_bytes(octets), Ordering::Release);
    }
}

/// Bits that say little about the bucket; never 0.
#[inline]
fn tag(hash: u64) -> u8 {
    (hash >> 32) as u8 | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::cache::entry::tests::entry_of;

    /// Hashes that are as bad as can be: every key in the same two buckets, under the same tag.
    #[test]
    fn keys_that_collide_in_every_bit_are_told_apart() {
        let (table, mut writer) = Table::new(100);
        let names: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
        let entries = names.iter().map(|name| Arc::new(entry_of(name, 42)));
        let put: Vec<bool> = entries
            .map(|entry| table.put(&mut writer, &entry).is_ok())
            .collect();
        let one_bucket = BUCKET_ENTRIES;
        let room = if std::ptr::eq(table.choices(42)[0], table.choices(42)[1]) {
            one_bucket
        } else {
            2 * one_bucket
        };
        assert_eq!(put.iter().filter(|put| **put).count(), room);
        for (name, put) in names.iter().zip(put) {
            let found = table.find(42, |key| key == name.as_bytes());
            assert_eq!(found.is_some(), put, "{name}");
            assert!(
                found.is_none_or(|found| found.key() == name.as_bytes()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_key_has_one_entry_and_only_that_very_one_is_removed() {
        let (table, mut writer) = Table::new(100);
        let [old, new] = [(); 2].map(|()| Arc::new(entry_of("www", 7)));
        assert!(table.put(&mut writer, &old).unwrap().is_none());
        let replaced = table.put(&mut writer, &new).unwrap();
        assert!(replaced.is_some_and(|replaced| Arc::ptr_eq(&replaced, &old)));
        table.remove(&mut writer, &old);
        assert!(
            table.find(7, |key| key == b"www").is_some(),
            "the old one was not there"
        );
        table.remove(&mut writer, &new);
        assert!(table.find(7, |key| key == b"www").is_none());
        assert_eq!(Arc::strong_count(&new), 1, "its memory can be given back");
    }

    #[test]
    fn a_full_table_of_what_it_is_made_for_has_room_for_each() {
        const ENTRIES: usize = 20_000;
        let (table, mut writer) = Table::new(ENTRIES);
        let mut seed = 1u64;
        for number in 0..ENTRIES {
            // The finalizer of splitmix64: any hash that mixes will do.
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut hash = seed;
            hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            hash ^= hash >> 31;
            let entry = Arc::new(entry_of(&number.to_string(), hash));
            assert!(table.put(&mut writer, &entry).is_ok(), "entry {number}");
        }
    }
}
