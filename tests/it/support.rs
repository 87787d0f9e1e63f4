//! What the integration tests stand on: the peers that Cairn talks to, run inside the test process.
//!
//! Nothing here knows Cairn; a peer is driven through its handle and answers as the real one does.

pub(crate) mod apiserver;
pub(crate) mod dns;
