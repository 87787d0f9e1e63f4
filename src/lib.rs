//! Cairn.

pub mod cluster;
pub mod corefile;
pub mod dns;
