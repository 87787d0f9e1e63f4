//! What the Corefile says about answers that end: `prefetch` and `serve_stale`.

use std::time::Duration;

use super::FAILURE_MAX;
use crate::config::value;
use crate::corefile::Word;
use crate::corefile::reader::Reader;

/// The longest gap in a series of hits where the Corefile does not say.
const GAP_DEFAULT: Duration = Duration::from_secs(60);
/// How much of its time an answer has left when it is asked for anew, in percent, likewise.
const PERCENTAGE_DEFAULT: u8 = 10;
/// How long an answer may be given after its time, likewise.
const STALE_DEFAULT: Duration = Duration::from_secs(3600);
/// RFC 8767 section 5: how long a client waits for those below before it is given a stale answer.
const CLIENT_TIMER: Duration = Duration::from_millis(1800);

/// Which answers are asked for anew before their time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefetch {
    /// Hits after which a name is popular.
    pub amount: u32,
    /// The longest gap between them.
    pub gap_max: Duration,
    /// How much of its time the answer has left at most, in percent.
    pub percentage: u8,
}

/// What becomes of an answer whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeStale {
    /// How long after its time it may be given.
    pub stale_for: Duration,
    /// When those below are asked for a better one.
    pub refresh: Refresh,
    /// Seconds that a client may keep it.
    pub ttl: u32,
    /// How long those below are left alone after they failed.
    pub recheck: Duration,
    /// A stale answer is given in place of a denial too.
    pub prefers_positive: bool,
}

/// When those below are asked for a better answer than a stale one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// After the stale one is given.
    After,
    /// Before, for at most this long.
    Before(Duration),
}

impl Prefetch {
    /// Whether an answer that was good for `ttl` seconds and is for `left` is about to end.
    pub(in super::super) fn is_due(&self, ttl: u32, left: u32) -> bool {
        let threshold = u64::from(ttl) * u64::from(self.percentage);
        u64::from(left) <= threshold.div_ceil(100)
    }
}

/// `AMOUNT [DURATION] [PERCENTAGE%]`; an amount of 0 is for none.
pub(super) fn prefetch(line: &Reader<'_>) -> Option<Option<Prefetch>> {
    let args = line.between(1, 3)?;
    let amount = line.value(&args[0], value::integer)?;
    if amount < 0 {
        let message = format!("prefetch amount should be positive: {amount}");
        return line.refuse(&args[0], message);
    }
    let mut prefetch = Prefetch {
        amount: u32::try_from(amount).unwrap_or(u32::MAX),
        gap_max: GAP_DEFAULT,
        percentage: PERCENTAGE_DEFAULT,
    };
    if let Some(word) = args.get(1) {
        // A negative gap is never kept to: no name is popular twice.
        let gap = line.value(word, value::signed_duration)?;
        prefetch.gap_max = Duration::from_nanos(u64::try_from(gap).unwrap_or(0));
    }
    if let Some(word) = args.get(2) {
        prefetch.percentage = percentage(word, line)?;
    }
    Some((amount > 0).then_some(prefetch))
}

fn percentage(word: &Word, line: &Reader<'_>) -> Option<u8> {
    let Some(number) = word.text.strip_suffix('%') else {
        let last = word.text.chars().next_back().unwrap_or(' ');
        let message = format!("last character of percentage should be `%`, but is: {last:?}");
        return line.refuse(word, message);
    };
    let percentage = line.value(word, |_| value::integer(number))?;
    match u8::try_from(percentage) {
        Ok(percentage @ 10..=90) => Some(percentage),
        _ => {
            let message = format!("percentage should fall in range [10, 90]: {percentage}");
            line.refuse(word, message)
        }
    }
}

/// `[DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]`; a duration of 0 is for not at all.
pub(super) fn serve_stale(line: &Reader<'_>) -> Option<Option<ServeStale>> {
    let mut stale = ServeStale {
        stale_for: STALE_DEFAULT,
        refresh: Refresh::After,
        ttl: 0,
        recheck: Duration::ZERO,
        prefers_positive: false,
    };
    let mut args = line.at_most(5)?.iter();
    if let Some(word) = args.next() {
        match line.value(word, value::duration)? {
            Some(stale_for) => stale.stale_for = stale_for,
            None => return line.refuse(word, "invalid negative duration for serve_stale"),
        }
    }
    if let Some(mode) = args.next() {
        stale.refresh = refresh(mode, &mut args, line)?;
    }
    if let Some(word) = args.next() {
        let ttl = not_negative(word, "response TTL", line)?;
        if ttl.subsec_nanos() != 0 {
            let message = "serve_stale response TTL must be a whole number of seconds";
            return line.refuse(word, message);
        }
        stale.ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    }
    if let Some(word) = args.next() {
        stale.recheck = not_negative(word, "failure recheck", line)?;
        if stale.recheck > FAILURE_MAX {
            return line.refuse(word, "serve_stale failure recheck cannot exceed 5 minutes");
        }
    }
    match args.next() {
        Some(extra) => line.wrong_count(extra),
        None => Some((!stale.stale_for.is_zero()).then_some(stale)),
    }
}

fn refresh<'a>(
    mode: &Word,
    args: &mut impl Iterator<Item = &'a Word>,
    line: &Reader<'_>,
) -> Option<Refresh> {
    match mode.text.to_ascii_lowercase().as_str() {
        "immediate" => Some(Refresh::After),
        "verify" => {
            let Some(word) = args.next() else {
                return Some(Refresh::Before(CLIENT_TIMER));
            };
            let within = not_negative(word, "verify timeout", line)?;
            // CoreDNS reads 0 as no limit of its own.
            let limit = if within.is_zero() {
                CLIENT_TIMER
            } else {
                within
            };
            Some(Refresh::Before(limit))
        }
        other => {
            let message = format!("invalid value for serve_stale refresh mode: {other}");
            line.refuse(mode, message)
        }
    }
}

fn not_negative(word: &Word, what: &str, line: &Reader<'_>) -> Option<Duration> {
    match line.value(word, value::duration)? {
        Some(duration) => Some(duration),
        None => line.refuse(word, format!("invalid negative {what} for serve_stale")),
    }
}
