//! `debug`: debug lines in the log, and a panic ends the process instead of one query.

use crate::config::Scope;
use crate::corefile::reader::Reader;
use crate::corefile::{Directive, Faults};

/// Nothing can be said about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config;

/// Reads the directive, which may be repeated.
pub fn parse(occurrences: &[&Directive], _scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let sound: Option<Vec<()>> = occurrences
        .iter()
        .map(|directive| {
            let reader = Reader::new(directive, faults);
            reader.none().and_then(|()| reader.no_block())
        })
        .collect();
    sound.map(|_| Config)
}
