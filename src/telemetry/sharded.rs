//! Counters whose cells belong to one thread each.
//!
//! A thread takes a shard number on its first count and gives it back when it ends; a table of cells is allocated for a
//! thread at its first count in that table. A cell is written by its owner alone, so that counting a query writes no
//! cache line that another core holds; a scrape adds the shards up. The last shard is for all threads that found no
//! free number: there the additions are atomic.
//!
//! Measured on an AMD EPYC with two cores, nine cells a query, as a reply counts: relaxed load and store 5 ns,
//! `fetch_add` on the same cells uncontended 21 ns, on cells that both cores add to 40 to 120 ns.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shards of a table. Data threads and runtime workers are at most two a core, so 63 owned shards serve 31 cores without
/// an atomic addition, and 64 numbers fit the one word they are handed out from.
const SHARDS: usize = 64;

/// The shard of the threads that own none.
const SHARED: usize = SHARDS - 1;

/// Not a shard: the thread has not counted yet.
const UNASSIGNED: usize = usize::MAX;

/// Cells in one cache line.
const LINE_CELLS: usize = 8;

/// Bit `i` is set while shard `i` belongs to a living thread. Threads are the process's, hence the static.
static OWNED: AtomicU64 = AtomicU64::new(1 << SHARED);

thread_local! {
    static SHARD: Cell<usize> = const { Cell::new(UNASSIGNED) };
    // Apart from `SHARD`, because a thread-local with a destructor is checked at each access.
    static LEASE: Lease = const { Lease(Cell::new(SHARED)) };
}

/// Gives the thread's shard back when the thread ends.
struct Lease(Cell<usize>);

impl Drop for Lease {
    fn drop(&mut self) {
        SHARD.set(SHARED);
        let shard = self.0.get();
        if shard != SHARED {
            // Release: the next owner, which acquires the bit, sees all our stores.
            OWNED.fetch_and(!(1 << shard), Ordering::Release);
        }
    }
}

/// One cache line of cells, so that two threads' cells never share one.
#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; LINE_CELLS]);

/// A table of counters, each the sum of a cell a thread.
pub(super) struct Sharded {
    shards: [OnceLock<Box<[Line]>>; SHARDS],
    lines: usize,
}

/// The cells of the calling thread in one table. Holds for the duration of one count, on one thread.
pub(super) struct Local<'a> {
    lines: &'a [Line],
    owned: bool,
}

impl Sharded {
    /// A table of `cells` counters at zero; nothing is allocated for a thread that does not count.
    pub(super) fn new(cells: usize) -> Self {
        Self {
            shards: [const { OnceLock::new() }; SHARDS],
            lines: cells.div_ceil(LINE_CELLS),
        }
    }

    /// The calling thread's cells.
    #[inline]
    pub(super) fn local(&self) -> Local<'_> {
        let shard = shard();
        let lines =
            self.shards[shard].get_or_init(|| (0..self.lines).map(|_| Line::default()).collect());
        Local {
            lines,
            owned: shard != SHARED,
        }
    }

    /// The sum of all threads' cells, one counter an entry. Counts made meanwhile may or may not be in it.
    pub(super) fn totals(&self) -> Vec<u64> {
        let mut totals = vec![0u64; self.lines * LINE_CELLS];
        for lines in self.shards.iter().filter_map(OnceLock::get) {
            let cells = lines.iter().flat_map(|line| &line.0);
            for (total, cell) in totals.iter_mut().zip(cells) {
                *total = total.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
        totals
    }
}

impl Local<'_> {
    /// Adds `n` to counter `cell`.
    #[inline]
    pub(super) fn add(&self, cell: usize, n: u64) {
        let cell = &self.lines[cell / LINE_CELLS].0[cell % LINE_CELLS];
        if self.owned {
            cell.store(
                cell.load(Ordering::Relaxed).wrapping_add(n),
                Ordering::Relaxed,
            );
        } else {
            cell.fetch_add(n, Ordering::Relaxed);
        }
    }
}

/// One counter that many threads increment often.
pub struct Counter(Sharded);

impl Default for Counter {
    fn default() -> Self {
        Self(Sharded::new(1))
    }
}

impl Counter {
    /// Counts one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.local().add(0, n);
    }

    /// What all threads have counted so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.totals()[0]
    }
}

#[inline]
fn shard() -> usize {
    match SHARD.get() {
        UNASSIGNED => assign(),
        shard => shard,
    }
}

#[cold]
fn assign() -> usize {
    let free = OWNED.fetch_update(Ordering::Acquire, Ordering::Relaxed, |owned| {
        (owned != u64::MAX).then(|| owned | (owned + 1))
    });
    let shard = match free {
        Ok(owned) => owned.trailing_ones() as usize,
        Err(_) => SHARED,
    };
    // A thread whose locals are already being destroyed could not give the number back.
    let leased = LEASE.try_with(|lease| lease.0.set(shard)).is_ok();
    if !leased && shard != SHARED {
        OWNED.fetch_and(!(1 << shard), Ordering::Release);
    }
    let shard = if leased { shard } else { SHARED };
    SHARD.set(shard);
    shard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_threads_add_up_while_more_threads_live_than_there_are_shards() {
        let counter = Counter::default();
        let all_alive = std::sync::Barrier::new(SHARDS + 10);
        std::thread::scope(|scope| {
            for _ in 0..SHARDS + 10 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counter.increment();
                    }
                    all_alive.wait();
                    counter.add(5);
                });
            }
        });
        assert_eq!(counter.total(), (SHARDS as u64 + 10) * 1005);
    }

    #[test]
    fn counts_outlive_their_thread_and_its_shard_is_used_again() {
        let counter = Counter::default();
        for _ in 0..3 * SHARDS {
            std::thread::scope(|scope| scope.spawn(|| counter.increment()).join())
                .expect("the thread counts");
        }
        assert_eq!(counter.total(), 3 * SHARDS as u64);
    }

    #[test]
    fn cells_of_one_table_are_apart() {
        let table = Sharded::new(20);
        for cell in 0..20 {
            table.local().add(cell, cell as u64 * 10);
        }
        let expected: Vec<u64> = (0..20).map(|cell| cell * 10).collect();
        assert_eq!(table.totals()[..20], expected);
    }
}
