//! `debug`: shows debug events in the log of the process, and lets a panic end it. It stands in no chain.

use crate::config::Scope;
use crate::corefile::reader::Reader;
use crate::corefile::{Directive, Faults};

/// What the Corefile says: that it is there is all there is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config;

/// Reads `debug`, as often as it stands there.
pub fn parse(occurrences: &[&Directive], _scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let mut sound = Some(());
    for directive in occurrences {
        let reader = Reader::new(directive, faults);
        sound = reader.none().and(reader.no_block()).and(sound);
    }
    sound.map(|()| Config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::case;

    #[test]
    fn it_takes_no_argument() {
        assert_eq!(case::read("debug", "debug", parse), Ok(Config));
        assert_eq!(case::read("debug", "debug\ndebug", parse), Ok(Config));
        let fault = "Wrong argument count or unexpected line ending after 'x'".to_owned();
        assert_eq!(case::read("debug", "debug x", parse), Err(fault));
    }
}
