//! The program as a process, of which the kernel tells what it holds.

pub(super) use crate::support::program::Holds;
use crate::support::program::{Cairn, Launch, free_port};

/// `cairn`; it ends with the handle.
pub(super) type Process = Cairn;

impl Cairn {
    /// Starts with these lines in the one server block, behind the words of a command that runs what follows it, in this
    /// environment.
    pub(super) fn start(lines: &str, behind: &[&str], environment: &[(&str, &str)]) -> Cairn {
        let corefile = format!(".:PORT {{\n bind 127.0.0.1\n {lines}\n}}\n");
        let launch = Launch {
            behind,
            environment,
            ..Launch::default()
        };
        Cairn::starting(&corefile, free_port(), &launch)
    }
}
