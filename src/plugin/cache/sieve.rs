//! What is thrown out of a full cache: SIEVE (Zhang and others, NSDI 2024).
//!
//! Items stand in the order in which they came. A hand goes from the oldest to the newest and round again: an item that
//! was asked for since the hand came by is spared once, the first that was not goes. So what is asked for once goes
//! soon, however many of its kind come, and what is asked for again stays. A hit does no more than set a mark.
//!
//! Items live in slots of one vector and are linked by the numbers of their slots.

/// Items that the hand passes by at most before it takes one: where all are popular it need not be the least popular
/// that goes, and those who wait for the lock are not kept for long.
const SPARED_MAX: usize = 256;

/// No slot.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Sieve<T> {
    slots: Vec<Slot<T>>,
    /// The first of the slots without an item; they are linked by `newer`.
    free: u32,
    oldest: u32,
    newest: u32,
    hand: u32,
    /// Where [`Sieve::sweep`] goes on.
    swept: usize,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    item: Option<T>,
    older: u32,
    newer: u32,
}

impl<T> Sieve<T> {
    pub(super) fn new() -> Sieve<T> {
        Sieve {
            slots: Vec::new(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            hand: NONE,
            swept: 0,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends the newest item; the number of its slot is its own until it is removed.
    pub(super) fn push(&mut self, item: T) -> u32 {
        let slot = Slot {
            item: Some(item),
            older: self.newest,
            newer: NONE,
        };
        let at = if self.free == NONE {
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        } else {
            let at = self.free;
            self.free = self.slots[at as usize].newer;
            self.slots[at as usize] = slot;
            at
        };
        match self.newest {
            NONE => self.oldest = at,
            newest => self.slots[newest as usize].newer = at,
        }
        self.newest = at;
        self.len += 1;
        at
    }

    /// Puts another item in the place of one.
    pub(super) fn replace(&mut self, at: u32, item: T) -> Option<T> {
        self.slots.get_mut(at as usize)?.item.replace(item)
    }

    /// Takes an item out.
    pub(super) fn remove(&mut self, at: u32) -> Option<T> {
        let slot = self.slots.get_mut(at as usize)?;
        let item = slot.item.take()?;
        let (older, newer) = (slot.older, slot.newer);
        (slot.older, slot.newer) = (NONE, self.free);
        self.free = at;
        match older {
            NONE => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        if self.hand == at {
            self.hand = newer;
        }
        self.len -= 1;
        Some(item)
    }

    /// Takes out what is asked for least. `spared` says whether an item is to be left this time, and takes its mark
    /// away; after [`SPARED_MAX`] the next goes in any case.
    pub(super) fn evict(&mut self, mut spared: impl FnMut(&T) -> bool) -> Option<T> {
        for _ in 0..SPARED_MAX {
            let at = self.at_hand();
            let slot = self.slots.get(at as usize)?;
            if !slot.item.as_ref().is_some_and(&mut spared) {
                break;
            }
            self.hand = slot.newer;
        }
        let at = self.at_hand();
        self.hand = at;
        self.remove(at)
    }

    fn at_hand(&self) -> u32 {
        match self.hand {
            NONE => self.oldest,
            hand => hand,
        }
    }

    /// Looks at the next few items in the order of their slots and takes out those that are `dead`.
    pub(super) fn sweep(&mut self, few: usize, dead: impl Fn(&T) -> bool) -> Vec<T> {
        let mut found = Vec::new();
        for _ in 0..few.min(self.slots.len()) {
            let at = self.swept % self.slots.len();
            self.swept = at + 1;
            if self.slots[at].item.as_ref().is_some_and(&dead) {
                found.extend(self.remove(at as u32));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A name and whether it was asked for.
    type Item = (&'static str, Cell<bool>);

    fn spared(item: &Item) -> bool {
        item.1.replace(false)
    }

    fn sieve(items: &[(&'static str, bool)]) -> Sieve<Item> {
        let mut sieve = Sieve::new();
        for (name, asked) in items {
            sieve.push((*name, Cell::new(*asked)));
        }
        sieve
    }

    fn evicted(sieve: &mut Sieve<Item>, count: usize) -> Vec<&'static str> {
        let names = (0..count).filter_map(|_| sieve.evict(spared));
        names.map(|item| item.0).collect()
    }

    #[test]
    fn the_oldest_that_was_not_asked_for_goes() {
        for (fact, items, expected) in [
            (
                "none was asked for",
                &[("a", false), ("b", false), ("c", false)][..],
                &["a", "b", "c"][..],
            ),
            (
                "the oldest was",
                &[("a", true), ("b", false), ("c", false)],
                &["b", "c", "a"],
            ),
            (
                "all were",
                &[("a", true), ("b", true), ("c", true)],
                &["a", "b", "c"],
            ),
            ("there is none", &[], &[]),
        ] {
            assert_eq!(evicted(&mut sieve(items), 3), expected, "{fact}");
        }
    }

    #[test]
    fn the_hand_does_not_go_far() {
        let mut sieve = sieve(&[("popular", true); 2 * SPARED_MAX]);
        assert_eq!(evicted(&mut sieve, 1), ["popular"]);
        let marked = sieve.slots.iter().filter_map(|slot| slot.item.as_ref());
        assert_eq!(marked.filter(|item| item.1.get()).count(), SPARED_MAX - 1);
    }

    #[test]
    fn the_hand_stays_where_it_was_when_items_come_and_go() {
        let mut sieve = sieve(&[("a", true), ("b", false), ("c", true), ("d", false)]);
        assert_eq!(evicted(&mut sieve, 1), ["b"]);
        // The hand is at c, which is removed from under it; e takes its slot as the newest.
        assert_eq!(sieve.remove(2).unwrap().0, "c");
        sieve.push(("e", Cell::new(false)));
        assert_eq!(evicted(&mut sieve, 3), ["d", "e", "a"]);
        assert_eq!(sieve.len(), 0);
    }

    #[test]
    fn an_item_that_takes_the_place_of_another_has_its_turn() {
        let mut sieve = sieve(&[("a", false), ("b", false)]);
        sieve.replace(0, ("new a", Cell::new(false)));
        assert_eq!(evicted(&mut sieve, 2), ["new a", "b"]);
    }

    #[test]
    fn a_sweep_comes_by_all_items_a_few_at_a_time() {
        let mut sieve = sieve(&[("a", true), ("b", false), ("c", true), ("d", true)]);
        let dead = |item: &Item| item.1.get();
        let mut swept = Vec::new();
        for _ in 0..4 {
            swept.push(sieve.sweep(1, dead).len());
        }
        assert_eq!(swept, [1, 0, 1, 1]);
        assert_eq!(evicted(&mut sieve, 2), ["b"]);
    }
}
