//! What the Corefile says about a cache.

use std::time::Duration;

use super::verdict::TTL_MAX;
use crate::config::{Scope, value};
use crate::corefile::reader::{self, Reader, Row};
use crate::corefile::{Directive, Faults, Word};
use crate::dns::Zones;

/// Answers that each half of a cache keeps where the Corefile does not say: CoreDNS's 256 shards of 39.
const CAPACITY_DEFAULT: u64 = 9984;
/// The fewest: CoreDNS's shards have four at least.
const CAPACITY_MIN: u64 = 1024;
/// Seconds that an answer is kept at least; spares an upstream that gives TTLs of zero.
const TTL_MIN_DEFAULT: u32 = 5;
/// Seconds that a denial is kept at most.
const DENIAL_TTL_MAX: u32 = 1800;
/// Seconds that a failure is kept.
const FAILURE_TTL_DEFAULT: u32 = 5;
/// RFC 2308 section 7.1: a server failure must not be kept longer.
const FAILURE_MAX: Duration = Duration::from_secs(300);

/// What the Corefile says about a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Names in these zones are looked up and kept.
    pub zones: Zones,
    /// For positive answers.
    pub success: Limits,
    /// For NXDOMAIN and NODATA.
    pub denial: Limits,
    /// Seconds that SERVFAIL and NOTIMP are kept; 0 for not at all.
    pub failure_ttl: u32,
    /// A hit has the TTL that was stored, not what is left of it.
    pub keep_ttl: bool,
}

/// The bounds of one half of a cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Answers kept at most.
    pub capacity: u64,
    /// Seconds that an answer lives at least.
    pub ttl_min: u32,
    /// Seconds that it lives at most; counts more than the minimum.
    pub ttl_max: u32,
    /// Names in these zones are not kept.
    pub except: Zones,
}

impl Limits {
    fn up_to(ttl_max: u32) -> Limits {
        Limits {
            capacity: CAPACITY_DEFAULT,
            ttl_min: TTL_MIN_DEFAULT,
            ttl_max,
            except: Zones::default(),
        }
    }
}

impl Config {
    /// What holds where the Corefile says no more than `cache`.
    pub fn of_zones(zones: Zones) -> Config {
        Config {
            zones,
            success: Limits::up_to(TTL_MAX),
            denial: Limits::up_to(DENIAL_TTL_MAX),
            failure_ttl: FAILURE_TTL_DEFAULT,
            keep_ttl: false,
        }
    }
}

/// A configuration while it is read.
struct Draft {
    config: Config,
    serves_stale: bool,
    has_stale_policy: bool,
}

const PROPERTIES: &[Row<Draft>] = &[
    Row::Line("success", |draft, line| {
        limits(&mut draft.config.success, line)
    }),
    Row::Line("denial", |draft, line| {
        limits(&mut draft.config.denial, line)
    }),
    Row::Line("servfail", servfail),
    Row::Line("disable", disable),
    Row::Line("keepttl", |draft, line| {
        draft.config.keep_ttl = true;
        line.none()
    }),
    Row::Line("prefetch", |_, line| {
        prefetch(line).and_then(|()| line.absent())
    }),
    Row::Line("serve_stale", |draft, line| {
        draft.serves_stale = true;
        serve_stale(line).and_then(|()| line.absent())
    }),
    Row::Line("serve_stale_policy", serve_stale_policy),
];

/// Reads `cache [TTL] [ZONES...] { ... }`.
pub fn parse(occurrences: &[&Directive], scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let reader = reader::once(occurrences, faults)?;
    let mut draft = Draft {
        config: Config::of_zones(Zones::new(scope.zones.iter().copied())),
        serves_stale: false,
        has_stale_policy: false,
    };
    let head = head(&mut draft.config, &reader);
    let body = reader.block(&mut draft, PROPERTIES);
    if draft.has_stale_policy && !draft.serves_stale {
        return reader.refuse(reader.name(), "serve_stale_policy requires serve_stale");
    }
    head.and(body).map(|()| draft.config)
}

fn head(config: &mut Config, reader: &Reader<'_>) -> Option<()> {
    let mut zones = reader.args();
    if let Some((first, rest)) = zones.split_first()
        && value::integer(&first.text).is_ok()
    {
        let ttl = ttl(first, reader)?;
        config.success.ttl_max = ttl;
        config.denial.ttl_max = ttl;
        zones = rest;
    }
    if !zones.is_empty() {
        let read: Option<Vec<_>> = zones
            .iter()
            .map(|word| reader.value(word, value::zones))
            .collect();
        config.zones = Zones::new(read?.into_iter().flatten());
    }
    Some(())
}

/// `CAPACITY [TTL] [MINTTL]`
fn limits(limits: &mut Limits, line: &Reader<'_>) -> Option<()> {
    let args = line.at_least(1)?;
    let capacity = line.value(&args[0], value::integer)?;
    limits.capacity = u64::try_from(capacity).unwrap_or(0).max(CAPACITY_MIN);
    if let Some(word) = args.get(1) {
        limits.ttl_max = ttl(word, line)?;
    }
    if let Some(word) = args.get(2) {
        let seconds = line.value(word, value::integer)?;
        if seconds < 0 {
            return line.refuse(
                word,
                format!("cache min TTL can not be negative: {seconds}"),
            );
        }
        limits.ttl_min = u32::try_from(seconds).unwrap_or(u32::MAX);
    }
    Some(())
}

fn ttl(word: &Word, line: &Reader<'_>) -> Option<u32> {
    let seconds = line.value(word, value::integer)?;
    if seconds <= 0 {
        let message = format!("cache TTL can not be zero or negative: {seconds}");
        return line.refuse(word, message);
    }
    Some(u32::try_from(seconds).unwrap_or(u32::MAX))
}

fn servfail(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    let message = match line.value(word, value::duration)? {
        None => "invalid negative ttl for servfail",
        Some(ttl) if ttl > FAILURE_MAX => {
            "caching SERVFAIL responses over 5 minutes is not permitted"
        }
        Some(ttl) => {
            draft.config.failure_ttl = ttl.as_secs() as u32;
            return Some(());
        }
    };
    line.refuse(word, message)
}

fn disable(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let (kind, zones) = line.at_least(1)?.split_first()?;
    let except = if zones.is_empty() {
        Zones::root()
    } else {
        let names: Option<Vec<_>> = zones
            .iter()
            .map(|word| {
                line.value(word, |text| {
                    value::name(text).map_err(|_| format!("invalid disabled zone: {text}"))
                })
            })
            .collect();
        Zones::new(names?)
    };
    match kind.text.as_str() {
        "success" => draft.config.success.except = except,
        "denial" => draft.config.denial.except = except,
        _ => {
            let message = "cache type for disable must be \"success\" or \"denial\"";
            return line.refuse(kind, message);
        }
    }
    Some(())
}

/// `AMOUNT [DURATION] [PERCENTAGE%]`
fn prefetch(line: &Reader<'_>) -> Option<()> {
    let args = line.between(1, 3)?;
    let amount = line.value(&args[0], value::integer)?;
    if amount < 0 {
        let message = format!("prefetch amount should be positive: {amount}");
        return line.refuse(&args[0], message);
    }
    if let Some(word) = args.get(1) {
        line.value(word, value::signed_duration)?;
    }
    let Some(word) = args.get(2) else {
        return Some(());
    };
    let Some(number) = word.text.strip_suffix('%') else {
        let last = word.text.chars().next_back().unwrap_or(' ');
        let message = format!("last character of percentage should be `%`, but is: {last:?}");
        return line.refuse(word, message);
    };
    let percentage = line.value(word, |_| value::integer(number))?;
    if !(10..=90).contains(&percentage) {
        let message = format!("percentage should fall in range [10, 90]: {percentage}");
        return line.refuse(word, message);
    }
    Some(())
}

/// `[DURATION] [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]`
fn serve_stale(line: &Reader<'_>) -> Option<()> {
    let mut args = line.at_most(5)?.iter();
    let Some(up_to) = args.next() else {
        return Some(());
    };
    if line.value(up_to, value::duration)?.is_none() {
        return line.refuse(up_to, "invalid negative duration for serve_stale");
    }
    let Some(mode) = args.next() else {
        return Some(());
    };
    match mode.text.to_ascii_lowercase().as_str() {
        "immediate" => {}
        "verify" => {
            if let Some(word) = args.next() {
                not_negative(word, "verify timeout", line)?;
            }
        }
        other => {
            let message = format!("invalid value for serve_stale refresh mode: {other}");
            return line.refuse(mode, message);
        }
    }
    if let Some(word) = args.next()
        && not_negative(word, "response TTL", line)?.subsec_nanos() != 0
    {
        let message = "serve_stale response TTL must be a whole number of seconds";
        return line.refuse(word, message);
    }
    if let Some(word) = args.next()
        && not_negative(word, "failure recheck", line)? > FAILURE_MAX
    {
        return line.refuse(word, "serve_stale failure recheck cannot exceed 5 minutes");
    }
    match args.next() {
        Some(extra) => line.wrong_count(extra),
        None => Some(()),
    }
}

fn not_negative(word: &Word, what: &str, line: &Reader<'_>) -> Option<Duration> {
    match line.value(word, value::duration)? {
        Some(duration) => Some(duration),
        None => line.refuse(word, format!("invalid negative {what} for serve_stale")),
    }
}

/// `prefer_positive`, once, beside `serve_stale`.
fn serve_stale_policy(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    if std::mem::replace(&mut draft.has_stale_policy, true) {
        return line.refuse(line.name(), "serve_stale_policy can only be specified once");
    }
    if word.text != "prefer_positive" {
        return line.refuse(word, format!("invalid serve_stale_policy: {}", word.text));
    }
    line.absent()
}

#[cfg(test)]
mod tests;
