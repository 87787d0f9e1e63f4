//! What the Corefile says about a cache.

use std::time::Duration;

use super::verdict::TTL_MAX;
use crate::config::{Scope, value};
use crate::corefile::reader::{self, Reader, Row};
use crate::corefile::{Directive, Faults, Word};
use crate::dns::{Name, Zones};

mod stale;

pub use stale::{Prefetch, Refresh, ServeStale};

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

/// Octets that the answers of a cache take at most where the Corefile does not say: twice what both halves have at
/// their default capacity if each answer has 1.5 KiB, which few have, and with the cluster's own data well below the
/// 170 MiB that Pods of CoreDNS are given.
const MEMORY_DEFAULT: usize = 64 << 20;
/// The least: 64 of the largest answers.
const MEMORY_MIN: usize = 1 << 20;
const SIZE_EXPECTED: &str = "max_memory must be a size of at least 1M, like 64M or 64Mi";

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
    /// Which answers are asked for anew before their time is over.
    pub prefetch: Option<Prefetch>,
    /// What becomes of an answer whose time is over.
    pub stale: Option<ServeStale>,
    /// Octets of all answers. CoreDNS has no such bound.
    pub max_memory: usize,
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
            prefetch: None,
            stale: None,
            max_memory: MEMORY_DEFAULT,
        }
    }

    /// How long after its time an answer may still be given.
    pub fn stale_for(&self) -> Duration {
        self.stale
            .as_ref()
            .map_or(Duration::ZERO, |stale| stale.stale_for)
    }

    /// Whether answers kept by the other are those that this one would have kept. When an answer is asked for anew
    /// and how it is given changes nothing of what is known.
    pub fn keeps_like(&self, other: &Config) -> bool {
        let kept = |config: &Config| Config {
            keep_ttl: false,
            prefetch: None,
            stale: None,
            ..config.clone()
        };
        kept(self) == kept(other)
    }
}

/// A configuration while it is read.
struct Draft {
    config: Config,
    serves_stale: bool,
    prefers_positive: bool,
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
    Row::Line("prefetch", |draft, line| {
        draft.config.prefetch = stale::prefetch(line)?;
        Some(())
    }),
    Row::Line("serve_stale", |draft, line| {
        draft.serves_stale = true;
        draft.config.stale = stale::serve_stale(line)?;
        Some(())
    }),
    Row::Line("serve_stale_policy", serve_stale_policy),
    Row::Line("max_memory", max_memory),
];

/// Reads `cache [TTL] [ZONES...] { ... }`.
pub fn parse(occurrences: &[&Directive], scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let reader = reader::once(occurrences, faults)?;
    let mut draft = Draft {
        config: Config::of_zones(Zones::new(scope.zones.iter().copied())),
        serves_stale: false,
        prefers_positive: false,
    };
    let head = head(&mut draft.config, &reader, scope.zones);
    let body = reader.block(&mut draft, PROPERTIES);
    if draft.prefers_positive && !draft.serves_stale {
        return reader.refuse(reader.name(), "serve_stale_policy requires serve_stale");
    }
    if let Some(stale) = &mut draft.config.stale {
        stale.prefers_positive = draft.prefers_positive;
    }
    head.and(body).map(|()| draft.config)
}

fn head(config: &mut Config, reader: &Reader<'_>, of_block: &[Name]) -> Option<()> {
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
            .map(|word| {
                let zones = reader.value(word, value::zones)?;
                doubt(word, &zones, reader, of_block);
                Some(zones)
            })
            .collect();
        config.zones = Zones::new(read?.into_iter().flatten());
    }
    Some(())
}

/// Tells of a word that makes no sense as a zone; it is taken for one, as CoreDNS does.
fn doubt(word: &Word, zones: &[Name], reader: &Reader<'_>, of_block: &[Name]) {
    let text = &word.text;
    if value::integer(text).is_ok() || value::signed_duration(text).is_ok() {
        let message = format!(
            "{text} is taken as a zone: a TTL is a number of seconds without a unit, before all zones"
        );
        reader.warn(word, message);
    } else if !zones.iter().any(|zone| {
        let mut of_block = of_block.iter();
        of_block.any(|block| zone.is_within(block) || block.is_within(zone))
    }) {
        let message =
            format!("nothing is cached for {text}: it is outside the zones of this block");
        reader.warn(word, message);
    }
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

/// `prefer_positive`, once, beside `serve_stale`.
fn serve_stale_policy(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    if std::mem::replace(&mut draft.prefers_positive, true) {
        return line.refuse(line.name(), "serve_stale_policy can only be specified once");
    }
    if word.text != "prefer_positive" {
        return line.refuse(word, format!("invalid serve_stale_policy: {}", word.text));
    }
    Some(())
}

/// Octets, with `K`, `M` or `G` behind them for powers of 1024, or `Ki`, `Mi` or `Gi`, as Kubernetes writes them.
fn max_memory(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    let digits = word.text.trim_end_matches(['K', 'M', 'G', 'i']);
    let shift = match &word.text[digits.len()..] {
        "" => 0,
        "K" | "Ki" => 10,
        "M" | "Mi" => 20,
        "G" | "Gi" => 30,
        _ => return line.refuse(word, SIZE_EXPECTED),
    };
    let octets = digits.parse::<usize>().ok();
    match octets.and_then(|octets| octets.checked_mul(1 << shift)) {
        Some(octets) if octets >= MEMORY_MIN => {
            draft.config.max_memory = octets;
            Some(())
        }
        _ => line.refuse(word, SIZE_EXPECTED),
    }
}

#[cfg(test)]
mod tests;
