//! `ready [ADDRESS] { monitor until-ready|continuously }`: the endpoint that says whether queries may be sent.

use crate::config::Scope;
use crate::corefile::reader::{self, Reader, Row};
use crate::corefile::{Directive, Faults, quoted};
use crate::ops::{ListenAddress, Monitor};

const ADDRESS_DEFAULT: &str = ":8181";

/// What the directive says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where it is served.
    pub address: ListenAddress,
    /// How long plugins are asked.
    pub monitor: Monitor,
}

/// Reads the directive, which may stand once.
pub fn parse(occurrences: &[&Directive], _scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let reader = reader::once(occurrences, faults)?;
    let address = super::health::address(&reader, ADDRESS_DEFAULT)?;
    let mut config = Config {
        address,
        monitor: Monitor::UntilReady,
    };
    reader.block(&mut config, &[Row::Line("monitor", monitor)])?;
    Some(config)
}

fn monitor(config: &mut Config, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    config.monitor = match word.text.as_str() {
        "until-ready" => Monitor::UntilReady,
        "continuously" => Monitor::Continuously,
        other => {
            return line.refuse(
                word,
                format!("monitor type {} not supported", quoted(other)),
            );
        }
    };
    Some(())
}
