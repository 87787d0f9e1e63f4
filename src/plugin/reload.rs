//! `reload [INTERVAL] [JITTER]` in the Corefile. What it asks for is done by the room of that name.

use std::time::Duration;

use crate::config::{Scope, value};
use crate::corefile::reader::Reader;
use crate::corefile::{Directive, Faults, Word};

const INTERVAL_DEFAULT: Duration = Duration::from_secs(30);
const JITTER_DEFAULT: Duration = Duration::from_secs(15);
/// Reading the Corefile more often than this is a mistake.
const INTERVAL_MIN: Duration = Duration::from_secs(2);
const JITTER_MIN: Duration = Duration::from_secs(1);

/// What the directive says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Between two looks at the Corefile.
    pub interval: Duration,
    /// How much looks may be moved, half of it either way; at most half the interval.
    pub jitter: Duration,
}

/// Reads the directive; of several the last one counts.
pub fn parse(occurrences: &[&Directive], _scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let configs: Option<Vec<Config>> = occurrences
        .iter()
        .map(|directive| read(&Reader::new(directive, faults)))
        .collect();
    configs?.pop()
}

fn read(reader: &Reader<'_>) -> Option<Config> {
    let args = reader.at_most(2)?;
    reader.no_block()?;
    let mut config = Config {
        interval: INTERVAL_DEFAULT,
        jitter: JITTER_DEFAULT,
    };
    if let Some(word) = args.first() {
        config.interval = duration(reader, word)?;
        if config.interval < INTERVAL_MIN {
            return reader.refuse(word, "interval value must be greater or equal to 2s");
        }
    }
    if let Some(word) = args.get(1) {
        config.jitter = duration(reader, word)?;
        if !config.jitter.is_zero() && config.jitter < JITTER_MIN {
            return reader.refuse(word, "jitter value must be 0 or greater or equal to 1s");
        }
    }
    config.jitter = config.jitter.min(config.interval / 2);
    Some(config)
}

/// A negative duration is less than any that is allowed.
fn duration(reader: &Reader<'_>, word: &Word) -> Option<Duration> {
    let negative = Duration::from_nanos(1);
    reader
        .value(word, value::duration)
        .map(|duration| duration.unwrap_or(negative))
}
