//! Cairn.

pub mod dns;
