//! What is known of each object of a resource beside its records: which version of it was told and when; and which
//! objects a list that is under way, or an audit, has named.
//!
//! Every object that the source tells of is here, also one that serves nobody (an EndpointSlice without a Service, a Pod
//! without an address): an audit compares all of them. A cluster has tens of thousands, so an entry is twenty octets.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::by_id::{ById, join, split};
use super::repeats::Repeats;

/// A `resourceVersion` in eight octets. The Kubernetes API calls it opaque, but every server's is a decimal number that
/// grows; one that is none is kept as a hash, which can be compared for being the same and nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version(u64);

/// The version is a hash.
const OPAQUE: u64 = 1 << 63;
/// The list that is under way has named the object.
const LISTED: u64 = 1 << 62;
/// The audit that is under way has named the object.
const SEEN: u64 = 1 << 61;
/// What is left for a number or a hash.
const VALUE: u64 = SEEN - 1;

impl Version {
    /// The version of this text.
    pub(crate) fn of(text: &str) -> Version {
        let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        // One number has one text.
        let number = text.parse().ok().filter(|number| *number <= VALUE);
        match number {
            Some(number) if digits && (number == 0 || !text.starts_with('0')) => Version(number),
            _ => Version(FixedState::default().hash_one(text) & VALUE | OPAQUE),
        }
    }

    /// The version of this number, if it can be one.
    pub(super) fn numbered(number: u64) -> Option<Version> {
        (number <= VALUE).then_some(Version(number))
    }

    /// The number, if it is one.
    pub(crate) fn number(self) -> Option<u64> {
        (self.0 & OPAQUE == 0).then_some(self.0)
    }

    /// Whether whoever has come as far as this has come as far as `other`; `None` if that cannot be told.
    pub(crate) fn has_reached(self, other: Version) -> Option<bool> {
        if self == other {
            return Some(true);
        }
        Some(self.number()? >= other.number()?)
    }
}

/// Which version of each object of a resource was told; a copy that costs next to nothing.
#[derive(Debug)]
pub(in crate::cluster) struct Versions(ById<Note>);

impl Versions {
    /// That of the object of this identity, if it is a number.
    pub(in crate::cluster) fn number(&self, id: u64) -> Option<u64> {
        self.0.get(id)?.version().number()
    }
}

/// The objects of one resource, by the hash of namespace and name.
#[derive(Debug, Default)]
pub(super) struct Known {
    objects: ById<Note>,
    repeats: Repeats,
    /// How many records there were before the last list.
    before_list: usize,
}

#[derive(Debug, Clone, Copy)]
struct Note {
    /// Version and marks, in halves likewise.
    state: [u32; 2],
    /// Unix time in seconds.
    told: u32,
}

impl Known {
    /// A list begins; `before` records are there.
    pub(super) fn start_list(&mut self, before: usize) {
        self.unmark(LISTED);
        self.before_list = before;
        self.repeats.start_list();
    }

    /// How many records there were before the list that is under way, if one is.
    pub(super) fn listing(&self) -> Option<usize> {
        self.repeats.is_listing().then_some(self.before_list)
    }

    /// Whether the list that is under way has named this object.
    pub(super) fn is_listed(&self, id: u64) -> bool {
        let note = self.objects.get(id);
        note.is_some_and(|note| note.state() & LISTED != 0)
    }

    /// The list is complete. `keep`: what it did not name stays known.
    pub(super) fn end_list(&mut self, keep: bool) {
        self.repeats.end_list();
        if !keep {
            let unlisted = |(id, note): (u64, &Note)| (note.state() & LISTED == 0).then_some(id);
            for id in self.objects.iter().filter_map(unlisted).collect::<Vec<_>>() {
                self.objects.remove(id);
            }
        }
        // Marks are cleared when the next list begins.
    }

    /// The list that is under way does not come to its end: what it has not named stays known.
    pub(super) fn give_up_list(&mut self) {
        self.repeats.give_up_list();
    }

    /// The source has come as far as this version.
    pub(super) fn hear(&mut self, version: Version) {
        self.repeats.hear(version);
    }

    /// Whether what is told of the object in this version was overtaken by a list that was given up. Otherwise whoever
    /// tells is right, be the version older: a server may have been put back, and a manifest may say what it likes.
    pub(super) fn is_overtaken(&self, id: u64, version: Version) -> bool {
        let is_older = |known| version.has_reached(known) == Some(false);
        self.repeats.has(version)
            && self
                .objects
                .get(id)
                .map(Note::version)
                .is_some_and(is_older)
    }

    /// The object was told of in this version. Says whether that is news.
    pub(super) fn told(&mut self, id: u64, version: Version, now: u32) -> bool {
        if self.is_overtaken(id, version) {
            return false;
        }
        self.hear(version);
        let marks = match self.repeats.is_listing() {
            true => LISTED,
            false => 0,
        };
        match self.objects.get_mut(id) {
            Some(note) => {
                note.set(note.state() & (SEEN | LISTED) | marks | version.0);
                note.told = now;
            }
            None => {
                let state = split(marks | version.0);
                self.objects.insert(id, Note { state, told: now });
            }
        }
        true
    }

    /// The object ended in this version. Says whether that is news.
    pub(super) fn ended(&mut self, id: u64, version: Version) -> bool {
        let is_news = !self.is_overtaken(id, version);
        if is_news {
            self.hear(version);
            self.forget(id);
        }
        is_news
    }

    /// The object does not exist.
    pub(super) fn forget(&mut self, id: u64) {
        self.objects.remove(id);
    }

    /// The version in which the object was told of last, and the Unix time of that in seconds.
    pub(super) fn note(&self, id: u64) -> Option<(Version, u32)> {
        let note = self.objects.get(id)?;
        Some((note.version(), note.told))
    }

    /// All versions as they are now.
    pub(super) fn versions(&self) -> Versions {
        Versions(self.objects.clone())
    }

    /// A process before has been told of the object in this version.
    pub(super) fn restore(&mut self, id: u64, version: Version) {
        let state = split(version.0);
        self.objects.insert(id, Note { state, told: 0 });
    }

    /// What a process before has been told was current at this Unix time in seconds.
    pub(super) fn restored(&mut self, as_of: u32) {
        self.objects.for_each_mut(|note| note.told = as_of);
    }

    /// An audit begins: it has named nothing.
    pub(super) fn start_audit(&mut self) {
        self.unmark(SEEN);
    }

    /// The audit has named this object.
    pub(super) fn see(&mut self, id: u64) {
        if let Some(note) = self.objects.get_mut(id) {
            note.set(note.state() | SEEN);
        }
    }

    /// What the audit has not named.
    pub(super) fn unseen(&self) -> impl Iterator<Item = (u64, Version)> {
        let unseen = self.objects.iter();
        let unseen = unseen.filter(|(_, note)| note.state() & SEEN == 0);
        unseen.map(|(id, note)| (id, note.version()))
    }

    fn unmark(&mut self, mark: u64) {
        let unmark = |note: &mut Note| note.set(note.state() & !mark);
        self.objects.for_each_mut(unmark);
    }
}

impl Note {
    fn state(&self) -> u64 {
        join(self.state)
    }

    fn set(&mut self, state: u64) {
        self.state = split(state);
    }

    fn version(&self) -> Version {
        Version(self.state() & (OPAQUE | VALUE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_are_numbers_have_an_order_and_others_are_the_same_or_not() {
        for (a, b, reached) in [
            ("7", "7", Some(true)),
            ("10", "9", Some(true)),
            ("9", "10", Some(false)),
            ("abc", "abc", Some(true)),
            ("abc", "abd", None),
            ("7", "abc", None),
            ("07", "7", None),
            ("", "1", None),
            ("2305843009213693951", "2305843009213693950", Some(true)),
            ("2305843009213693952", "1", None),
            ("18446744073709551616", "1", None),
        ] {
            let told = Version::of(a).has_reached(Version::of(b));
            assert_eq!(told, reached, "{a:?} has reached {b:?}");
        }
        assert_eq!(Version::of("+7").number(), None);
        assert_eq!(Version::of("7").number(), Some(7));
    }

    #[test]
    fn marks_of_lists_and_audits_do_not_touch_versions_nor_each_other() {
        let mut known = Known::default();
        let version = Version::of("5");
        known.told(1, version, 100);
        known.told(2, Version::of("opaque"), 100);
        known.start_list(2);
        assert!(!known.is_listed(1));
        known.told(1, version, 200);
        known.start_audit();
        known.see(2);
        assert!(known.is_listed(1) && !known.is_listed(2));
        assert_eq!(known.note(1), Some((version, 200)));
        assert_eq!(known.unseen().collect::<Vec<_>>(), [(1, version)]);
        known.end_list(false);
        assert_eq!(known.note(2), None);
        known.start_list(1);
        known.end_list(true);
        assert_eq!(known.note(1), Some((version, 200)));
    }

    #[test]
    fn an_object_takes_twenty_octets() {
        assert_eq!(ById::<Note>::octets_each(), 20);
    }
}
