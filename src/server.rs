//! The sockets of the server, and what happens between them and the chains.

pub mod router;
