//! What the hashes of an index are seeded with, so that names which a client chooses cannot be made to collide.
//!
//! The seed is a value of ours and not that of the process, because objects without a name in the index are known by
//! their hash alone: who keeps an index for the next process keeps its seed with it.

use std::hash::{Hash, Hasher};

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// The seed of one index.
#[derive(Debug, Clone)]
pub(super) struct Seed {
    numbers: SeedNumbers,
    /// Made of the second number: it costs more than a hash.
    shared: SharedSeed,
}

/// A seed as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeedNumbers(pub(super) u64, pub(super) u64);

/// For tables whose items know their hash.
pub(super) static UNUSED: Seed = Seed::of(SeedNumbers(0, 0));

impl Seed {
    pub(super) const fn of(numbers: SeedNumbers) -> Seed {
        Seed {
            numbers,
            shared: SharedSeed::from_u64(numbers.1),
        }
    }

    pub(super) fn numbers(&self) -> SeedNumbers {
        self.numbers
    }

    #[inline]
    pub(super) fn hash_one(&self, value: impl Hash) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.numbers.0, &self.shared);
        value.hash(&mut hasher);
        hasher.finish()
    }
}

impl Default for Seed {
    /// One that nobody can foresee.
    fn default() -> Seed {
        Seed::of(SeedNumbers(rand::random(), rand::random()))
    }
}
