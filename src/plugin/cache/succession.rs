//! Which entry may take the place of which.

use std::time::{Duration, Instant};

use super::Config;
use super::entry::{Entry, Standing};

/// Whether `new` takes the place of `old`. A failure does not take that of an answer which can be given, be it a stale
/// one; nor does a denial that of a positive answer, where that is preferred. Then those below are left alone for as
/// long as `new` would have been good.
pub(super) fn follows(config: &Config, old: &Entry, new: &Entry, now: Instant) -> bool {
    let standing = old.standing(now, config.stale_for());
    if standing == Standing::Gone || old.is_failure() {
        return true;
    }
    let prefers_old = || {
        let prefers_positive = config
            .stale
            .as_ref()
            .is_some_and(|stale| stale.prefers_positive);
        prefers_positive && old.is_positive() && !new.is_positive()
    };
    if new.is_failure() || prefers_old() {
        let recheck = config.stale.as_ref().map(|stale| stale.recheck);
        let pause = Duration::from_secs(new.ttl().into());
        old.rest(now, recheck.unwrap_or_default().max(pause));
        return false;
    }
    if let Standing::Fresh(_) = standing {
        new.inherit(old);
    }
    true
}
