//! Labels that many hold.

use std::fmt;
use std::ops::Deref;

use triomphe::ThinArc;

/// Labels in wire form, held by whatever belongs to them: one word for each holder, one allocation for all. An
/// address of a cluster is little more than its holder, so the word that `Arc<[u8]>` takes for the length, too, is a
/// third of what all of them take.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SharedLabels(ThinArc<(), u8>);

impl Deref for SharedLabels {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0.slice
    }
}

impl From<&[u8]> for SharedLabels {
    fn from(wire: &[u8]) -> SharedLabels {
        SharedLabels(ThinArc::from_header_and_slice((), wire))
    }
}

impl fmt::Debug for SharedLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
