//! Which queries are looked at to know who asks most: about one of sixty-four, drawn by lot.
//!
//! By lot, because what a Pod asks comes in walks of eight or ten names: every eighth of those would be the same name
//! for ever. A thread counts down by itself and writes nothing that another thread reads.

use std::cell::Cell;

/// Of so many queries one is looked at, in the long run. What a look needs is far from the processor: at one of 16, looks took
/// 0.04 µs of each query, a twentieth of what it takes outside of the kernel.
pub const SAMPLED_EVERY: u32 = 64;

/// The longest way from one to the next; all ways up to it are as likely.
const GAP_MAX: u32 = 2 * SAMPLED_EVERY - 1;

/// The countdown of a thread, and the state of its lots.
#[derive(Clone, Copy)]
struct Lots {
    left: u32,
    seed: u32,
}

thread_local! {
    static LOTS: Cell<Lots> = const { Cell::new(Lots { left: SAMPLED_EVERY, seed: 0x9e37_79b9 }) };
}

/// Whether this query is one of them.
#[inline]
pub(super) fn is_drawn() -> bool {
    LOTS.with(|lots| {
        let Lots { left, seed } = lots.get();
        if left > 1 {
            lots.set(Lots {
                left: left - 1,
                seed,
            });
            return false;
        }
        lots.set(drawn(seed));
        true
    })
}

/// The next way, by xorshift: nobody gains anything from knowing it.
fn drawn(mut seed: u32) -> Lots {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    Lots {
        left: 1 + seed % GAP_MAX,
        seed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_sixty_four_is_drawn_whatever_the_period_of_what_is_asked() {
        const WALK: usize = 16;
        const WALKS: usize = 80_000;
        let mut drawn_of_step = [0usize; WALK];
        for query in 0..WALK * WALKS {
            if is_drawn() {
                drawn_of_step[query % WALK] += 1;
            }
        }
        let fair = WALKS / SAMPLED_EVERY as usize;
        for (step, drawn) in drawn_of_step.into_iter().enumerate() {
            assert!(drawn.abs_diff(fair) < fair / 4, "step {step}: {drawn}");
        }
    }
}
