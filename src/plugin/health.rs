//! `health [ADDRESS] { lameduck DURATION }`: the endpoint that says that the process is alive.

use std::time::Duration;

use crate::config::{Scope, value};
use crate::corefile::reader::{Reader, Row};
use crate::corefile::{Directive, Faults, quoted};
use crate::ops::{ListenAddress, parse_listen_address};

const ADDRESS_DEFAULT: &str = ":8080";

/// What the directive says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where it is served.
    pub address: ListenAddress,
    /// How long the server goes on serving after it was told to stop.
    pub lameduck: Duration,
}

/// Reads the directive; of several the last one counts.
pub fn parse(occurrences: &[&Directive], _scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let configs: Option<Vec<Config>> = occurrences
        .iter()
        .map(|directive| read(directive, faults))
        .collect();
    configs?.pop()
}

fn read(directive: &Directive, faults: &Faults) -> Option<Config> {
    let reader = Reader::new(directive, faults);
    let address = address(&reader, ADDRESS_DEFAULT)?;
    let mut config = Config {
        address,
        lameduck: Duration::ZERO,
    };
    reader.block(&mut config, &[Row::Line("lameduck", lameduck)])?;
    Some(config)
}

fn lameduck(config: &mut Config, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    match value::duration(&word.text) {
        Ok(duration) => config.lameduck = duration.unwrap_or_default(),
        Err(fault) => {
            let message = format!(
                "unable to parse lameduck duration value: {} : {fault}",
                quoted(&word.text)
            );
            return line.refuse(word, message);
        }
    }
    Some(())
}

/// The one argument of an operator's endpoint: where to listen.
pub(super) fn address(reader: &Reader<'_>, default: &str) -> Option<ListenAddress> {
    match reader.optional()? {
        Some(word) => reader.value(word, parse_listen_address),
        None => Some(parse_listen_address(default).expect("the default is an address")),
    }
}
