//! From the tree of a Corefile to what will run: resolved, checked, immutable.

pub mod value;

use crate::corefile::Outside;
use crate::dns::Name;

/// What a plugin's parser may know besides its own directives.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The zones of the server block, in lower case and in the order of its keys.
    pub zones: &'a [Name],
    /// Files and environment.
    pub outside: &'a dyn Outside,
}
