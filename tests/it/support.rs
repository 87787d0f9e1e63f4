//! What the integration tests stand on: the peers that Cairn talks to, and Cairn itself, run inside the test process.
//!
//! A peer knows nothing of Cairn; it is driven through its handle and answers as the real one does.

pub(crate) mod apiserver;
pub(crate) mod dns;
pub(crate) mod program;
pub(crate) mod server;
pub(crate) mod upstream;
